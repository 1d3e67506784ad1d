"""dataset.json: whatever it holds, settings or one error in words."""

import os

import pytest

from ngf.data import DataError
from ngf.data.shared.settings import Settings


def test_settings_are_read(tmp_path):
    assert Settings.read(tmp_path) == Settings()
    (tmp_path / "dataset.json").write_text('{"size": 64, "color": "gray", "mirror": ["a"]}')
    assert Settings.read(tmp_path) == Settings(64, "gray", ("a",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"color": []}', "color is .*. Allowed"),
        (b'{"color": {}}', "color is {}. Allowed"),
        (b'{"color": "blue"}', "color is .*. Allowed"),
        (b'{"color": 1}', "color is 1. Allowed"),
        (b'{"size": []}', "size is .*. Allowed"),
        (b'{"size": 1e999}', "size is Infinity. Allowed"),
        (b'{"size": true}', "size is true. Allowed"),
        (b'{"mirror": [[]]}', "mirror is .*. Allowed"),
        (b'{"mirror": {}}', "mirror is {}. Allowed"),
        (b'{"\\ud800": 1}', "holds .*. Allowed"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"color": ' * 100_000, "cannot be read as JSON"),
        (b'{"color": ' + b"[" * 900 + b"]" * 900 + b"}", "color is|cannot be read"),
        (b"[]", "holds .*. Allowed"),
        (b"null", "holds null. Allowed"),
        (b"", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b" " * (2**20 + 1), "cannot be read as JSON .it is larger than 1,048,576 bytes"),
    ],
)
def test_other_settings_are_refused_in_words(text, words, tmp_path):
    (tmp_path / "dataset.json").write_bytes(text)
    with pytest.raises(DataError, match=f"dataset.json:? {words}") as error:
        Settings.read(tmp_path)
    assert len(str(error.value)) < 1000
    str(error.value).encode("utf-8")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    path = tmp_path / "dataset.json"
    os.mkfifo(path)
    for make in (lambda: None, path.mkdir, lambda: path.symlink_to(path.name)):
        make()
        with pytest.raises(DataError, match="cannot be read as JSON .it is no file"):
            Settings.read(tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()
