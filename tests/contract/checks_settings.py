"""The rest that users call: previews, network, environment, secrets, metrics, SSH access, LSP."""

import urllib.error
import urllib.request


async def check_preview(x):
    await x(x.box.process.exec, "mkdir -p www && echo page > www/index.html")
    await x(x.box.process.exec, "cd www && (python3 -m http.server 3000 >/dev/null 2>&1 &) ; sleep 1.5")
    link = await x(x.box.get_preview_link, 3000)
    request = urllib.request.Request(link.url, headers={"x-daytona-preview-token": link.token})
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b"page\n"
    try:
        urllib.request.urlopen(link.url)
    except urllib.error.HTTPError as error:
        assert error.code in (401, 403, 404), error.code
    else:
        raise AssertionError("a private preview answers without its token")


async def check_signed_preview(x):
    create = x.need("create_signed_preview_url")
    signed = await x(create, 3000, 60)
    with urllib.request.urlopen(signed.url) as answer:
        assert answer.read() == b"page\n"
    await x(x.box.expire_signed_preview_url, 3000, signed.token)
    try:
        urllib.request.urlopen(signed.url)
    except urllib.error.HTTPError as error:
        assert error.code in (401, 403, 404), error.code
    else:
        raise AssertionError("an expired preview still answers")


async def check_network_settings(x):
    update = x.need("update_network_settings")
    await x(update, network_block_all=True)
    await x(x.box.refresh_data)
    assert x.box.network_block_all is True


async def check_environment(x):
    update = x.need("update_env")
    await x(update, {"LATER": "1"})
    assert (await x(x.box.process.exec, "echo $LATER")).result.strip() == "1"
    await x(update, {}, unset=["LATER"])
    assert (await x(x.box.process.exec, "echo ${LATER-none}")).result.strip() == "none"


async def check_metrics(x):
    latest = x.need("get_metrics_latest")
    found = await x(latest)
    assert found.mem_total > 0 if hasattr(found, "mem_total") else found is not None


async def check_metrics_history(x):
    found = await x(x.need("get_metrics"))
    assert found[-1].mem_total > 0


async def check_ssh_access(x):
    made = await x(x.box.create_ssh_access, 5)
    assert made.token
    if x.version < (0, 113):
        x.skip("its validate_ssh_access reads a member that its own model lacks")
    assert (await x(x.box.validate_ssh_access, made.token)).valid
    await x(x.box.revoke_ssh_access, made.token)
    assert not (await x(x.box.validate_ssh_access, made.token)).valid


async def check_secrets(x):
    service = getattr(x.client, "secret", None) or getattr(x.client, "secrets", None)
    if service is None:
        raise x.need("secret", x.client)
    made = await x(
        service.create, x.module.CreateSecretParams(name="contract", value="hidden", hosts=["example.org"])
    )
    try:
        assert "hidden" not in str(made)
        assert "contract" in [one.name for one in await x.all(service.list)]
    finally:
        await x(service.delete, made.id)
