"""What an ordinary user's ids are used for: the ranges that are taken, and how they are cut."""

import pytest

from tidepool.engine.kernel import userns
from tidepool.engine.spawner import protocol, rootless


def test_the_largest_range_of_the_user_counts() -> None:
    text = "a:1:2\nme:100:50\n# me:5:5\nme:200:70\n77:300:60\nbad:x:y\nme:1\n"
    assert userns.largest_range(text, ["me", "77"]) == userns.Range(200, 70)
    assert userns.largest_range(text, ["77"]) == userns.Range(300, 60)
    assert userns.largest_range(text, ["nobody"]) is None


@pytest.mark.parametrize("count", [5 * protocol.SLICE, 65_536, 65_537, 1 << 28])
def test_ids_are_cut_without_overlap_and_stay_in_the_range(count: int) -> None:
    uids, gids = userns.Range(100_000, count), userns.Range(500_000, count + 5000)
    ours = rootless.share(uids, gids, 1000, 1001)
    assert ours.ids.blocks >= 1
    for extents, given, own in ((ours.uids, uids, 1000), (ours.gids, gids, 1001)):
        assert extents[0] == (0, own, 1)
        blocks, stored = extents[1:]
        assert given.first <= blocks[1]
        assert blocks[1] + blocks[2] == stored[1]
        assert stored[1] + stored[2] <= given.first + given.count
        assert blocks[2] == ours.ids.blocks * ours.ids.block
        assert blocks[0] + blocks[2] <= stored[0]
    assert ours.ids.first(ours.ids.blocks - 1) + ours.ids.block == protocol.FIRST_BLOCK_UID + ours.uids[1][2]
