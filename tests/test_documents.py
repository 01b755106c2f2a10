"""JSON files of others, against types: what fits is given as it is, all else is one sentence."""

import json
import pathlib
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import pytest

from dgc_jax import documents
from dgc_jax.errors import InputError
from dgc_jax.train.log import history


class Inner(NamedTuple):
    name: str
    share: float | None


class Outer(TypedDict):
    of: list[int]
    groups: dict[str, Inner]
    done: bool
    more: NotRequired[dict[str, Any] | str]


WHOLE = {"of": [1, 2], "groups": {"a": {"name": "x", "share": None}}, "done": True, "else": [[]]}


def read(path: pathlib.Path) -> Any:
    return documents.read(path, Outer, "a thing", "make it")


def changed(**changes: object) -> bytes:
    return json.dumps(WHOLE | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        changed(),
        changed(more="text"),
        changed(more={"a": 1}),
        changed(
            groups={"a": {"name": "x", "share": 1, "other": 3}, "b": {"name": "", "share": 1.5}}
        ),
    ],
)
def test_what_fits_is_read_as_json_reads_it(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert read(tmp_path / "x.json") == json.loads(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON: Expecting value"),
        (b"\xff{}", "no JSON: 'utf-8' codec"),
        (b"[1, 2", "no JSON"),
        (b"[" * 100_000, "no JSON: |more than 32 deep"),
        (b'{"of": ' + b"9" * 5000 + b"}", "no JSON: Exceeds the limit"),
        (b"[3]", "it is a list, not a JSON object"),
        (b"{}", "no field of"),
        (changed(of=3), "of is 3, not a list"),
        (changed(of=[1, 2.5]), r"of\[1\] is 2.5, not a whole number"),
        (changed(of=[True]), r"of\[0\] is true, not a whole number"),
        (changed(of=[10**400]), r"of\[0\] is beyond 2\^63"),
        (changed(groups={"a": {"name": "x"}}), "no field groups.a.share"),
        (changed(groups={"a": {"name": "x", "share": "1"}}), '"1", not a number or null'),
        (changed(done=0), "done is 0, not true or false"),
        (changed(more=3), "more is 3, not a JSON object or text"),
        (changed(more=[json.loads("[" * 40 + "]" * 40)]), "more than 32 deep"),
        (changed(more="é" * 10**6, of="é" * 100), r"of is .{57,70}\.\.\., not a list"),
    ],
)
def test_anything_else_is_refused_with_file_and_field(
    tmp_path: pathlib.Path, content: bytes, why: str
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as told:
        read(path)
    assert str(told.value).startswith(f"{path}: expected a thing, found something else (")
    assert str(told.value).endswith("); make it.")


def test_large_files_are_not_parsed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGEST", 2**20)
    (tmp_path / "x.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InputError, match="more than 1 MiB"):
        read(tmp_path / "x.json")


def test_missing_files_and_folders_are_told_apart(tmp_path: pathlib.Path) -> None:
    for path in (tmp_path / "x.json", tmp_path / "x" / "y.json"):
        with pytest.raises(FileNotFoundError):
            read(path)
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\); make it"):
        read(tmp_path)


def test_any_bytes_are_read_or_refused(tmp_path: pathlib.Path) -> None:
    """Every byte of a whole file changed, one at a time, and the file cut at every byte."""
    rng = np.random.default_rng(0)
    whole = changed(more={"a": [1, {"b": None}]})
    path = tmp_path / "x.json"
    for place in range(len(whole)):
        other = bytearray(whole)
        other[place] = rng.integers(256)
        for content in (bytes(other), whole[:place]):
            path.write_bytes(content)
            try:
                found = read(path)
            except InputError:
                continue
            assert found == json.loads(content)


def test_metrics_lose_a_line_that_a_kill_cut_and_no_other(tmp_path: pathlib.Path) -> None:
    lines = ['{"step": 0, "loss": 1.5}', '{"step": 1, "loss": NaN}', '{"step": 2, "lo']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    found = history(str(tmp_path))
    assert found[0] == {"step": 0, "loss": 1.5}
    assert [entry["step"] for entry in found] == [0, 1]
    assert np.isnan(found[1]["loss"])
    for damaged, why in (("{", "no JSON"), ('{"step": "1"}', "step is"), ('{"loss": 1}', "a step")):
        (tmp_path / "metrics.jsonl").write_text("\n".join([lines[0], damaged, lines[0]]))
        with pytest.raises(InputError, match=rf"metrics\.jsonl, line 2: .*{why}"):
            history(str(tmp_path))
    assert history(str(tmp_path / "nowhere")) == []
