"""Which test attacks which probe: the list of 98 that is the least that is tried, and where each is.

`docs/probes.md` is this table, written by `python -m tests.security.coverage`. Nothing here runs an attack. A number
without a test would need a reason in its place; test_coverage.py sees that none is missing and every test exists.
"""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/probes.md"
_HERE = "tests/security/"


@dataclass(frozen=True)
class Probe:
    """One attack and its tests."""

    what: str
    tests: tuple[str, ...] = ()
    """`path.py::test_name`; a path without a directory is in tests/security."""
    note: str = ""
    """What is not tried here, and why; or what is found and documented."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Its tests from the root of the project."""
        return tuple(one if one.startswith("tests/") else _HERE + one for one in self.tests)


_ROWS = "test_probes.py::test_refused"
_USERS = "test_probes.py::test_each_user_has_what_is_its_own"
_CALLS = "tests/engine/kernel/test_seccomp_attacks.py::test_refused"
_KINDS = "test_memory_kinds.py::test_memory_of_every_kind_ends_at_the_limit"
_SHAPES = "test_disk_shapes.py::test_a_full_disk_is_full_for_itself_only"
_COUNTERS = "test_counters.py::test_a_counter_at_its_limit_is_felt_by_nobody_else"
_CLOCKS = "test_output_attacks.py::test_no_play_with_clocks_moves_the_deadline"
_KEEPERS = "test_output_attacks.py::test_a_child_that_keeps_the_pipes_does_not_keep_the_answer"
_SEND = "test_network_attacks.py::test_no_protocol_reaches_any_other_place"
_FORWARD = "tests/egress/test_forward.py::"
_POLICY = "tests/egress/test_policy.py::"
_NEVER = _POLICY + "test_private_metadata_and_embedding_addresses_are_never_dialled"
_PRIVATE = _FORWARD + "test_private_addresses_are_refused_under_every_policy"
_TRICKS = _FORWARD + "test_no_spelling_reaches_what_is_not_allowed"
_FILES = "test_files_attacks.py::"
_TREES = "test_tree_attacks.py::"
_CHANNEL = "test_channel_attacks.py::"
_TENANTS = "test_tenant_attacks.py::"

IDENTITY = {
    1: Probe("capabilities, no-new-privileges, filter mode", (_USERS,)),
    2: Probe("host ids of processes", ("test_probes.py::test_host_ids_are_of_one_sandbox_only",)),
    3: Probe("set-user-id programs", (_ROWS,)),
    4: Probe(
        "set-user-id files seen from the host",
        (_FILES + "test_a_poisoned_layer_reaches_only_who_asked_and_cannot_be_changed",),
    ),
    5: Probe("new namespaces", (_ROWS, _CALLS)),
    6: Probe("entering namespaces", (_ROWS,)),
    7: Probe("chroot and descriptors to an old root", (_ROWS,)),
    8: Probe("mounts, old and new calls", (_ROWS, _CALLS)),
    9: Probe("propagation of mounts", (_ROWS,)),
    10: Probe("root inside writes kernel knobs", ("test_host.py::test_kernel_knobs_are_read_only",)),
    11: Probe("names, clocks, reboot, modules of the host", (_ROWS, _CALLS)),
    12: Probe("personality", (_ROWS,)),
    13: Probe("core_pattern, then a crash", ("test_host.py::test_kernel_knobs_are_read_only",)),
    14: Probe("core dumps", (_ROWS,)),
    15: Probe("helpers that the kernel starts", (_ROWS,)),
    16: Probe("environment and maps of init", (_ROWS,)),
    17: Probe(
        "paths of the host in mountinfo", ("test_host.py::test_no_path_of_the_host_is_shown_in_mountinfo",)
    ),
    18: Probe("tables of /proc", (_ROWS,)),
    19: Probe("identity of the host", (_ROWS,)),
    20: Probe("sizes of the host", ("test_probes.py::test_what_is_shown_of_the_host_is_documented",)),
    21: Probe("overwriting the running program", (_USERS,)),
    22: Probe("inherited descriptors", (_ROWS,)),
    23: Probe("file handles", (_ROWS,)),
    24: Probe("device nodes", (_ROWS,)),
    25: Probe(
        "whiteouts and overlay marks",
        (_ROWS, _TREES + "test_an_image_of_arranged_links_leads_its_sandboxes_nowhere"),
    ),
    26: Probe("contents of /dev", (_ROWS,)),
    27: Probe("devices of the host", (_ROWS,)),
}
CALLS = {
    28: Probe("io_uring", (_ROWS, _CALLS)),
    29: Probe("bpf, perf, userfaultfd, kcmp", (_ROWS, _CALLS)),
    30: Probe("ptrace and kin against init", (_ROWS,)),
    31: Probe("keyrings", (_ROWS, _CALLS)),
    32: Probe("rare sockets", (_ROWS,)),
    33: Probe(
        "32-bit and x32 calls",
        (_ROWS, "tests/engine/kernel/test_seccomp_attacks.py::test_a_32_bit_call_kills"),
    ),
    34: Probe(
        "arguments changed under the filter",
        ("tests/engine/kernel/test_seccomp.py::test_the_program_says_what_the_tables_say",),
        "the filter reads registers only",
    ),
    35: Probe(
        "a filter of one's own",
        ("tests/engine/kernel/test_seccomp_attacks.py::test_a_filter_of_the_guests_own_cannot_weaken_ours",),
    ),
    36: Probe("calls that arrange the machine", (_ROWS,)),
    37: Probe("programs in memory", (_ROWS,), "allowed, as everywhere in a sandbox"),
    38: Probe(
        "random calls",
        (
            "test_random_calls.py::test_random_calls_harm_nobody_else",
            "test_random_calls.py::test_five_minutes_of_random_calls_harm_nobody_else",
        ),
    ),
    39: Probe("priorities", (_ROWS,)),
    40: Probe(
        "typing into a terminal",
        (_ROWS, "tests/engine/test_terminal.py::test_nothing_can_be_typed_by_a_program"),
    ),
    41: Probe("flags of inherited descriptors", (_ROWS,)),
    42: Probe("outside the allowed tree (Landlock)", (_USERS,)),
}
RESOURCES = {
    43: Probe(
        "fork bomb, also while it is killed",
        (
            "test_resources.py::test_fork_bomb_ends_at_its_deadline_and_leaves_the_sandbox_usable",
            "test_deadline.py::test_a_tree_is_gone_soon_after_its_deadline",
        ),
    ),
    44: Probe("daemons", ("test_resources.py::test_double_forked_daemon_dies_with_its_run", _KEEPERS)),
    45: Probe(
        "a child that keeps the pipes",
        ("test_resources.py::test_background_child_does_not_hold_the_answer", _KEEPERS),
    ),
    46: Probe(
        "memory of every kind",
        (
            _KINDS,
            "test_memory_kinds.py::test_what_sockets_hold_is_bounded_for_each_sandbox",
            "test_memory_kinds.py::test_uncounted_memory_goes_with_its_run",
        ),
        "Linux counts record locks for nobody: docs/isolation.md",
    ),
    47: Probe(
        "a full disk in every shape",
        (
            _SHAPES,
            "test_disk_shapes.py::test_a_sparse_file_costs_what_is_in_it",
            "test_disk_shapes.py::test_a_million_empty_files_end_at_the_inodes",
        ),
    ),
    48: Probe("what is counted by user", (_COUNTERS,)),
    49: Probe("spinning", ("test_counters.py::test_spinning_leaves_processors_to_others",)),
    50: Probe("clocks against the deadline", (_CLOCKS,)),
    51: Probe(
        "floods of output",
        (
            "test_output_attacks.py::test_a_flood_is_cut_and_others_are_served",
            "test_output_attacks.py::test_the_exit_code_survives_a_flood",
            "test_resources.py::test_endless_output_is_cut_and_the_host_stays_small",
        ),
    ),
    52: Probe(
        "output that looks like something",
        ("test_output_attacks.py::test_bytes_that_look_like_something_are_only_bytes",),
    ),
    53: Probe(
        "input that is not read",
        (
            "test_output_attacks.py::test_input_that_is_not_read_holds_nobody",
            "test_output_attacks.py::test_a_gigabyte_of_input_is_taken_as_it_is_read",
        ),
    ),
    54: Probe(
        "ways to end",
        (
            "test_output_attacks.py::test_every_way_to_end_is_told_apart",
            "test_output_attacks.py::test_every_exit_code_is_its_own",
            "test_resources.py::test_memory_balloon_is_killed_and_named",
        ),
    ),
    55: Probe(
        "dead children",
        (
            "test_counters.py::test_children_of_the_dead_are_reaped",
            "test_counters.py::test_fifty_thousand_children_of_the_dead_are_reaped",
            "test_counters.py::test_children_that_nobody_waits_for_fill_their_own_sandbox",
        ),
    ),
    56: Probe(
        "descriptors, epoll in epoll, rights under way",
        (
            "test_counters.py::test_descriptors_are_bounded",
            "test_counters.py::test_epoll_in_epoll_is_bounded",
            "test_counters.py::test_descriptors_that_were_under_way_go_with_their_sandbox",
        ),
    ),
    57: Probe(
        "storms of disk calls",
        ("test_output_attacks.py::test_a_storm_of_disk_calls_leaves_the_disk_to_others",),
    ),
    58: Probe(
        "soak",
        (
            "tests/engine/test_soak.py::test_nothing_is_left_behind",
            "tests/engine/test_soak.py::test_nothing_is_left_behind_by_many_with_dying_spawners",
        ),
        "the long form is scripts/soak",
    ),
    59: Probe(
        "kill at every step",
        (
            "tests/engine/test_faults.py::test_a_death_at_a_step_loses_nothing",
            "tests/server/test_deaths.py::test_a_server_that_dies_in_an_operation_loses_nothing",
        ),
    ),
    60: Probe(
        "state of an earlier life",
        (
            "tests/engine/test_keeping.py::test_what_was_running_when_the_engine_ended_can_be_brought_back",
            "tests/server/test_start.py::test_a_stale_socket_is_replaced_and_a_live_one_is_not",
        ),
        "the host itself is not rebooted by a test",
    ),
}
NETWORK = {
    61: Probe(
        "every protocol to every place",
        (
            _SEND,
            "test_host.py::test_other_addresses_are_unreachable",
            "tests/engine/test_ports.py::test_nothing_of_the_host_or_of_another_sandbox_is_reached",
        ),
    ),
    62: Probe("metadata services", (_SEND, _NEVER, _PRIVATE)),
    63: Probe(
        "private, embedded, group addresses",
        (
            _NEVER,
            _PRIVATE,
            "tests/egress/test_dial.py::test_one_address_that_is_not_public_refuses_the_whole_name",
        ),
    ),
    64: Probe(
        "spellings of addresses and names",
        (
            _TRICKS,
            _POLICY + "test_what_has_another_reading_is_refused",
        ),
    ),
    65: Probe(
        "NUL in a name", (_TRICKS, _POLICY + "test_what_has_another_reading_is_refused"), "there is no SOCKS"
    ),
    66: Probe(
        "suffixes", (_TRICKS, _POLICY + "test_a_name_is_granted_only_by_itself_or_a_wildcard_above_it")
    ),
    67: Probe(
        "names that change their address",
        (
            "tests/egress/test_dial.py::test_a_name_is_resolved_once_and_that_answer_is_dialled",
            "tests/egress/test_dial.py::test_one_address_that_is_not_public_refuses_the_whole_name",
        ),
    ),
    68: Probe(
        "SNI, host and target differ",
        (
            _FORWARD + "test_another_or_no_sni_is_refused_under_a_host_list",
            _FORWARD + "test_what_is_not_tls_does_not_go_to_a_named_host",
            "tests/egress/test_sandboxes.py::test_inside_opened_tls_no_other_host_can_be_meant",
        ),
    ),
    69: Probe(
        "smuggled requests",
        (
            _TRICKS,
            _FORWARD + "test_each_request_of_a_kept_connection_is_judged_anew",
            "tests/egress/test_fuzz.py::test_no_bytes_reach_what_is_not_listed",
            "tests/egress/test_proxy_attacks.py::test_what_follows_a_malformed_request_is_never_a_request",
        ),
    ),
    70: Probe(
        "redirects",
        (
            _FORWARD + "test_a_redirect_is_not_followed_for_the_client",
            "tests/egress/test_proxy_attacks.py::test_a_page_may_not_redirect_into_the_private_network_either",
        ),
    ),
    71: Probe(
        "names as a way out",
        (
            _SEND,
            "test_network_attacks.py::test_no_name_is_resolved",
            "tests/egress/test_wall.py::test_no_names_can_be_resolved_inside",
        ),
    ),
    72: Probe(
        "empty lists and tightening",
        (
            _FORWARD + "test_an_empty_list_and_none_deny_all_and_packages_forwards_nothing",
            _FORWARD + "test_tightening_cuts_what_is_under_way_and_leaves_the_rest",
            "tests/egress/test_sandboxes.py::test_tightening_cuts_a_download_that_is_under_way",
        ),
    ),
    73: Probe(
        "a port that listens inside",
        (
            "tests/engine/test_ports.py::test_nothing_of_the_host_or_of_another_sandbox_is_reached",
            "tests/server/test_preview.py::test_only_who_may",
        ),
    ),
    74: Probe(
        "slow and many clients of the proxy",
        (
            "tests/egress/test_connection.py::test_one_byte_now_and_then_does_not_move_the_deadline",
            "tests/egress/test_proxy_attacks.py::test_one_sandbox_that_holds_all_its_connections_stops_nobody_else",
        ),
    ),
    75: Probe(
        "sockets of services",
        (
            "test_network_attacks.py::test_no_service_of_the_host_can_be_connected_to",
            "test_host.py::test_abstract_sockets_of_the_host_are_unreachable",
        ),
    ),
    76: Probe(
        "the link: addresses, routes, frames", ("test_network_attacks.py::test_the_link_cannot_be_changed",)
    ),
    77: Probe("IPv6 beside IPv4", (_SEND, _NEVER)),
}
FILES = {
    78: Probe(
        "paths",
        (
            _FILES + "test_no_spelling_of_a_path_leaves_the_sandbox",
            _FILES + "test_no_spelling_leaves_it_over_http",
        ),
    ),
    79: Probe(
        "links, swapped in a race",
        (
            _FILES + "test_a_racing_swapper_of_links_wins_nothing",
            "test_host.py::test_links_planted_inside_lead_nowhere_outside",
        ),
    ),
    80: Probe("what is no file", (_FILES + "test_what_is_no_file_is_refused_at_once",)),
    81: Probe("hard links", (_FILES + "test_hard_links_out_of_the_sandbox_s_own_disk_are_refused",)),
    82: Probe(
        "files that change; sparse ones",
        (
            _FILES + "test_a_file_that_changes_while_it_is_read_is_whole_or_an_error",
            _TREES + "test_a_sparse_terabyte_is_refused_streamed_and_saved_in_bounds",
        ),
    ),
    83: Probe(
        "archives",
        (
            "tests/engine/test_archive.py::test_a_member_through_a_link_never_leaves_the_layer",
            "tests/images/test_layers.py::test_names_that_climb_or_cannot_be_written_are_refused",
            "tests/fuzz/test_archives.py::test_layers_of_an_image",
        ),
        "the files API takes none",
    ),
    84: Probe(
        "helpers for decompression",
        (
            "tests/images/test_layers.py::test_damage_is_refused",
            "tests/fuzz/test_archives.py::test_an_archive_of_an_image",
        ),
        "only libraries unpack; no program is started",
    ),
    85: Probe(
        "trees that resist deletion",
        (
            _TREES + "test_a_hostile_tree_is_saved_and_removed_and_nothing_else",
            _TREES + "test_a_deep_tree_is_deleted_by_the_files_api",
        ),
    ),
    86: Probe(
        "arranged images",
        (
            _TREES + "test_an_image_of_arranged_links_leads_its_sandboxes_nowhere",
            "tests/images/test_layers.py::test_whiteouts_hide_what_is_below_and_nothing_else",
        ),
    ),
    87: Probe(
        "hooks and helpers of repositories",
        (_FILES + "test_hooks_and_helpers_of_a_repository_run_inside_only",),
    ),
    88: Probe(
        "poisoned dependencies",
        (
            _FILES + "test_a_poisoned_layer_reaches_only_who_asked_and_cannot_be_changed",
            "tests/engine/test_layers.py::test_a_later_start_takes_what_is_intact_and_builds_the_rest_again",
        ),
    ),
}
TENANTS = {
    89: Probe(
        "frames that break the protocol",
        (
            _CHANNEL + "test_an_init_that_breaks_the_protocol_is_killed",
            _CHANNEL + "test_a_zygote_that_breaks_the_protocol_ends_alone",
            "tests/fuzz/test_channel.py::test_a_channel_takes_anything",
        ),
    ),
    90: Probe(
        "descriptors passed to the host", (_CHANNEL + "test_an_init_that_breaks_the_protocol_is_killed",)
    ),
    91: Probe(
        "answers that are no answers",
        (
            _CHANNEL + "test_answers_that_are_no_answers_are_one_clear_error",
            _CHANNEL + "test_a_listing_without_end_is_cut",
            "tests/engine/test_report.py::test_garbage",
        ),
    ),
    92: Probe(
        "sabotage of what serves inside",
        (
            _TENANTS + "test_sabotage_harms_only_its_own_run",
            _TENANTS + "test_the_control_socket_is_out_of_reach",
            _CHANNEL + "test_a_forged_end_of_a_run_is_a_result",
        ),
    ),
    93: Probe(
        "memory after the fork",
        (
            _TENANTS + "test_no_sandbox_has_what_the_host_or_a_sibling_has_in_memory",
            _TENANTS + "test_siblings_and_runs_draw_different_numbers",
        ),
    ),
    94: Probe(
        "another's ids and tokens",
        (
            "tests/server/test_tenants.py::test_anothers_is_nobodys",
            "tests/server/test_tenants.py::test_without_a_key_no_route_is_reached",
            "tests/fuzz/test_requests.py::test_signed_addresses_are_not_guessed",
        ),
    ),
    95: Probe(
        "texts in fields and addresses",
        (
            _TENANTS + "test_texts_in_a_request_are_refused_or_only_texts",
            _TENANTS + "test_texts_in_addresses_are_refused_or_only_texts",
        ),
    ),
    96: Probe(
        "locks and tables that are shared",
        (
            _TENANTS + "test_locks_of_one_sandbox_are_not_felt_by_another",
            _TENANTS + "test_tables_of_the_host_say_nothing_of_others",
        ),
        "channels of time and sums: docs/isolation.md",
    ),
    97: Probe(
        "flaws of the processor",
        (
            "tests/cli/test_surroundings.py::test_open_flaws_are_named",
            "tests/cli/test_surroundings.py::test_threads_that_share_a_core_are_told",
        ),
        "told by `tidepool doctor`; gadgets are not run, and side channels are not promised: SECURITY.md",
    ),
    98: Probe("what is left for the next", (_TENANTS + "test_nothing_that_was_left_reaches_the_next",)),
}
GROUPS = {
    "Identity, namespaces and what is shown": IDENTITY,
    "System calls": CALLS,
    "Resources": RESOURCES,
    "Network": NETWORK,
    "Files and images": FILES,
    "Control channel and tenants": TENANTS,
}
PROBES = {number: probe for group in GROUPS.values() for number, probe in group.items()}


def page() -> str:
    """`docs/probes.md`."""
    lines = [
        "# Probes",
        "",
        "What is tried from inside real sandboxes, and where. Written by `python -m tests.security.coverage`; a test",
        "compares it with the table there and sees that every test exists.",
    ]
    for title, probes in GROUPS.items():
        lines += ["", f"## {title}", "", "| | probe | tests | note |", "|---|---|---|---|"]
        for number, probe in probes.items():
            tests = "<br>".join(f"`{one}`" for one in probe.ids)
            lines.append(f"| {number} | {probe.what} | {tests} | {probe.note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
