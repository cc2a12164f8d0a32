"""What a form's part and its file are called."""

from __future__ import annotations

import pytest

from atelier.wire.disposition import ENCODED, NOT_EXTENDED, NOT_UTF8, options, part


def named(disposition: bytes, **headers: str) -> list[tuple[str, str]]:
    """Headers as the parser gives them: bytes, read as Latin-1."""
    others = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return [("Content-Disposition", f"form-data; {disposition.decode('latin-1')}"), *others]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ('filename="Ёлка.jpg"'.encode(), "Ёлка.jpg"),
        ("filename=Ёлка 2.jpg".encode(), "Ёлка 2.jpg"),
        (b"FileName=plain.jpg ", "plain.jpg"),
        (b'filename="a;b=c.jpg"', "a;b=c.jpg"),
        (b'filename="a%22b.jpg"', 'a"b.jpg'),
        (b'filename="a\\"b.jpg"', 'a"b.jpg'),
        (b'filename="a"b.jpg"', 'a"b.jpg'),
        (b'filename="100%25.jpg"', "100%25.jpg"),
        (b'filename="a\\"', "a\\"),
        (b'filename="a\\"; size=3', "a\\"),
        (b'filename="C:\\Users\\me\\a.jpg"', "a.jpg"),
        (b"filename=\"filename*=UTF-8''b\"", "filename*=UTF-8''b"),
        (b'filename=""', ""),
        (b"filename*=UTF-8''%D0%A2.jpg", "Т.jpg"),
        (b"filename*=\"utf-8'ru'%D0%A2.jpg\"", "Т.jpg"),
        (b"filename*=UTF-8''\xd0\xa2.jpg", "Т.jpg"),
        (b"filename*=utf-8''%D0%A2.jpg; filename=\"T.jpg\"", "Т.jpg"),
        (b"filename=\"T.jpg\"; filename*=utf-8''%D0%A2.jpg", "Т.jpg"),
        (b"filename=\"\xd2.jpg\"; filename*=utf-8''%D0%A2.jpg", "Т.jpg"),
        (b"filename*=ISO-8859-1''caf%E9.jpg", "café.jpg"),
        (b"filename*=windows-1251''%D2.jpg", "Т.jpg"),
        (b"filename*=koi8-r''%F4.jpg; filename=x", "Т.jpg"),
        (b"filename=\"T.jpg\"; filename*=utf-8''%D2.jpg", "T.jpg"),
        (b"filename=\"T.jpg\"; filename*=zlib''x.jpg", "T.jpg"),
        (b'filename="T.jpg"; filename*=utf-8\'%D0%A2.jpg', "T.jpg"),
        (b'filename="=?utf-8?B?0KIuanBn?="', "Т.jpg"),
        (b"filename==?UTF-8*ru?q?=D0=A2_1?=.jpg", "Т 1.jpg"),
        (b'filename="=?windows-1251?Q?=D2?=   =?utf-8?B?LmpwZw==?="', "Т.jpg"),
        (b'filename="=?utf-8?B?0A==?= =?utf-8?B?oi5qcGc=?="', "Т.jpg"),
        (b'filename="=?none?B?0KIuanBn?="', "=?none?B?0KIuanBn?="),
        (b'filename="=?utf-8?B?0I?="', "=?utf-8?B?0I?="),
        (b'filename="=?utf-8?Q?=D2?="', "=?utf-8?Q?=D2?="),
        (b'filename="a.jpg"; x="filename*=utf-8\'\'b"', "a.jpg"),
    ],
    ids=repr,
)
def test_names_as_clients_send_them(sent: bytes, name: str) -> None:
    """The extended name wins where it can be read, in any charset; encoded words are decoded."""
    for sequence in (b'name="file"; ' + sent, sent + b'; name="file"'):
        found = part(named(sequence))
        assert (found.name, found.filename, found.complaint) == ("file", name, None)
        assert found.is_file


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b'filename="\xa8\xeb\xea\xe0.jpg"', NOT_UTF8),
        (b"filename=\"\xa8.jpg\"; filename*=zlib''x", NOT_UTF8),
        (b"filename*=utf-8''%D2.jpg", NOT_EXTENDED),
        (b"filename*=punycode''x.jpg", NOT_EXTENDED),
        (b"filename*=a.jpg", NOT_EXTENDED),
    ],
    ids=repr,
)
def test_names_that_cannot_be_read(sent: bytes, complaint: str) -> None:
    """The complaint is about the name, and the part is still a file."""
    found = part(named(b'name="file"; ' + sent))
    assert (found.complaint, found.is_file) == (complaint, True)


def test_a_part_whose_own_name_is_no_text() -> None:
    """It cannot be named in a complaint."""
    with pytest.raises(ValueError, match="not valid UTF-8"):
        part(named(b'name="\xff"'))


@pytest.mark.parametrize(
    ("headers", "is_file"),
    [
        ({}, False),
        ({"Content_Type": "Text/Plain; charset=utf-8"}, False),
        ({"Content_Type": "IMAGE/JPEG"}, True),
        ({"Content_Type": "application/octet-stream"}, True),
    ],
)
def test_files_without_a_name(headers: dict[str, str], is_file: bool) -> None:
    """A file has a media type; a text has none or is plain text."""
    assert part(named(b'name="file"', **headers)).is_file is is_file


@pytest.mark.parametrize(
    ("encoding", "complaint"),
    [("binary", None), ("8BIT", None), ("base64", ENCODED), ("quoted-printable", ENCODED)],
)
def test_encodings_of_mail(encoding: str, complaint: str | None) -> None:
    """RFC 7578 has none, browsers send none: content that is encoded would be stored so."""
    headers = named(b'name="file"; filename="a"', Content_Transfer_Encoding=encoding)
    assert part(headers).complaint == complaint


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("multipart/form-data; boundary=b", "b"),
        ("Multipart/Form-Data;BOUNDARY = b ; charset=utf-8", "b"),
        ("multipart/form-data; boundary=----=_Part/1:2?3", "----=_Part/1:2?3"),
        ('multipart/form-data; charset="utf-8"; boundary="b;c"', '"b;c"'),
    ],
)
def test_options_of_a_header(header: str, value: str) -> None:
    """In any case, with any white space, and with what should have been quoted."""
    assert options(header)["boundary"] == value
