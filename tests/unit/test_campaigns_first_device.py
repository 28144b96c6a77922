"""docs/first-device.md is made of blocks that its campaign runs: each is found, where it belongs."""

from __future__ import annotations

from campaigns.first_device import PAGE, blocks


def test_every_block_of_the_page_is_run_where_its_heading_says() -> None:
    page = PAGE.read_text()
    found = blocks(page)
    assert len(found) == page.count("```sh\n")
    assert [block.where for block in found] == [
        *("device", "device", "workstation", "device", "device", "workstation", "device")
    ]
    assert "".join(block.text for block in found).count("systemctl") == 2


def test_a_here_document_is_one_command_with_its_lines() -> None:
    (block,) = blocks(
        "## On the device: x\n\n```sh\ncat > f <<'END'\na\nsystemctl b\nEND\nsystemctl c\n```\n"
    )
    assert list(block.commands()) == ["cat > f <<'END'\na\nsystemctl b\nEND\n", "systemctl c\n"]


def test_blocks_of_other_kinds_and_below_other_headings_are_left_out() -> None:
    text = "## On the device: x\n\n```toml\na\n```\n\n## How\n\n```sh\nb\n```\n"
    assert blocks(text) == []
