"""Every format: our fields as another library reads them; everything else, and the audio, as it was."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tagged_files import (
    FORMATS,
    ID3_FORMATS,
    add_foreign_tags,
    foreign_tags,
    opened,
    packets,
    read_fields,
    write_plain,
)

from earmark.audio.decode import decode
from earmark.errors import InputError
from earmark.tasks.zones.tagging import chunks, id3, mp4
from earmark.tasks.zones.tagging.entries import FIELDS, Entry, replaced
from earmark.tasks.zones.tagging.formats import encode, read_tags, rest_digest, write_copy
from earmark.tasks.zones.tagging.vorbis_comment import parse_comments, render_comments

TEXTS = {
    "zone": "PURPLE",
    "grouping": "🟪 Purple (Energy)",
    "energy": "9",
    "comment": "🟪 PURPLE 81% model [earmark]",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return {suffix: write_plain(folder / f"tone.{suffix}") for suffix in FORMATS}


@pytest.fixture
def copy_of(plain, tmp_path):
    def make(suffix, name="track"):
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(plain[suffix].read_bytes())
        return path

    return make


def tagged(source, texts=TEXTS):
    target = source.with_name(f"tagged-{source.name}")
    tags = read_tags(source)
    changes = {name: [encode(tags, name, text)] for name, text in texts.items()}
    write_copy(source, target, replaced(tags.entries, changes))
    return target


def back(source, before):
    """Undo by raw entries: what the fields of `before` held."""
    target = source.with_name(f"back-{source.name}")
    now, then = read_tags(source), read_tags(before)
    write_copy(source, target, replaced(now.entries, {name: then.of_field(name) for name in FIELDS}))
    return target


@pytest.mark.parametrize("has_tags", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_our_fields_are_read_by_others_and_nothing_else_changes(copy_of, suffix, has_tags):
    source = copy_of(suffix)
    if has_tags:
        add_foreign_tags(source)
    target = tagged(source)
    assert read_fields(target) == {name: [text] for name, text in TEXTS.items()}
    assert read_tags(target).texts() == {name: (text,) for name, text in TEXTS.items()}
    assert foreign_tags(target) == foreign_tags(source)
    assert read_tags(target).others(FIELDS) == read_tags(source).others(FIELDS)
    assert rest_digest(target) == rest_digest(source)
    assert packets(target) == packets(source)
    np.testing.assert_array_equal(
        decode(target, sample_rate=22_050).samples, decode(source, sample_rate=22_050).samples
    )


@pytest.mark.parametrize("has_tags", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_taking_back_gives_the_tags_of_before(copy_of, suffix, has_tags):
    source = copy_of(suffix)
    if has_tags:
        add_foreign_tags(source, grouping="Peak time")
    restored = back(tagged(source), source)
    assert read_tags(restored).entries == read_tags(source).entries
    assert rest_digest(restored) == rest_digest(source)
    if suffix in (*ID3_FORMATS, "flac"):
        assert restored.read_bytes() == source.read_bytes(), "these come back byte for byte"


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("suffix", ID3_FORMATS)
def test_the_version_of_a_tag_stays(copy_of, suffix, version):
    source = add_foreign_tags(copy_of(suffix))
    file = opened(source)
    file.tags.update_to_v23() if version == 3 else None
    file.save(v2_version=version)
    target = tagged(source)
    assert opened(target).tags.version == (2, version, 0) == opened(source).tags.version
    assert read_fields(target) == {name: [text] for name, text in TEXTS.items()}
    assert foreign_tags(target) == foreign_tags(source)


def test_a_tag_of_version_2_2_stays_one(copy_of, tmp_path):
    stream = copy_of("mp3").read_bytes()
    frames = b"TT2\0\0\x06\0Title" + b"COM\0\0\x08\0eng\0abc" + b"XYZ\0\0\x02\xff\xe0"
    source = tmp_path / "old.mp3"
    source.write_bytes(b"ID3\x02\0\0\0\0\0" + bytes((len(frames) + 20,)) + frames + bytes(20) + stream)
    target = tagged(source)
    assert read_fields(target) == {name: [text] for name, text in TEXTS.items()}
    assert target.read_bytes().startswith(b"ID3\x02") and frames in target.read_bytes()
    assert target.read_bytes().endswith(bytes(20) + stream)


def test_unsynchronised_tags_keep_their_frames(copy_of, tmp_path):
    stream = copy_of("mp3").read_bytes()
    private = b"a\0\xff\xe0\xff\x00\xff"
    frame = b"PRIV" + struct.pack(">I", len(private)) + b"\0\0" + private
    body = frame.replace(b"\xff\x00", b"\xff\x00\x00").replace(b"\xff\xe0", b"\xff\x00\xe0") + b"\0" * 4
    source = tmp_path / "unsynchronised.mp3"
    source.write_bytes(b"ID3\x03\0\x80\0\0\0" + bytes((len(body),)) + body + stream)
    target = tagged(source)
    data = target.read_bytes()
    tag = data[: id3.tag_bytes(data[:10])]
    assert b"\xff\xfe" not in tag[10:], "no false sync"
    assert opened(target).tags.getall("PRIV")[0].data == b"\xff\xe0\xff\x00\xff"
    assert read_fields(target) == {name: [text] for name, text in TEXTS.items()}


def test_plain_sizes_in_a_tag_of_version_2_4_are_understood(copy_of, tmp_path):
    """Some versions of iTunes wrote them."""
    stream = copy_of("mp3").read_bytes()
    frames = b"TIT2" + struct.pack(">I", 301) + b"\0\0" + b"\x03" + b"x" * 300 + b"TALB\0\0\0\x04\0\0\x03abc"
    source = tmp_path / "itunes.mp3"
    source.write_bytes(b"ID3\x04\0\0\0\0" + bytes((len(frames) >> 7, len(frames) & 127)) + frames + stream)
    assert read_tags(source).form == "id3v2.4-plain"
    target = tagged(source)
    assert frames in target.read_bytes()
    assert read_tags(target).texts()["zone"] == ("PURPLE",)


def test_the_grouping_of_itunes_is_used_where_it_is_there(copy_of):
    from mutagen.id3 import GRP1, TIT1

    source = copy_of("mp3")
    file = opened(source)
    file.add_tags()
    file.tags.add(GRP1(encoding=3, text="Peak"))
    file.tags.add(TIT1(encoding=3, text="Work"))
    file.save()
    assert read_tags(source).texts()["grouping"] == ("Peak",)
    tags = opened(tagged(source)).tags
    assert (str(tags["GRP1"]), str(tags["TIT1"])) == (TEXTS["grouping"], "Work")


def test_comments_of_others_stand_before_ours(copy_of):
    flac = opened(tagged(add_foreign_tags(copy_of("flac"))))
    assert flac.tags["comment"] == ["first", "second", TEXTS["comment"]]
    m4a = opened(tagged(add_foreign_tags(copy_of("m4a"))))
    assert m4a.tags["\xa9cmt"] == ["8A - Energy 6", TEXTS["comment"]]


def test_entries_that_are_no_text_survive(copy_of, tmp_path):
    """Bytes that are not UTF-8, two keys of one name in other case, an entry without a key."""
    for suffix in ("flac", "ogg", "opus"):
        source = copy_of(suffix)
        odd = [Entry(b"ARTIST=\xff\xfe\xe9"), Entry(b"artist=b"), Entry(b"no key"), Entry("Ключ=x".encode())]
        other = source.with_name(f"odd-{source.name}")
        write_copy(source, other, [*read_tags(source).entries, *odd])
        assert read_tags(tagged(other)).others(FIELDS) == read_tags(other).others(FIELDS)
        assert set(read_tags(other).others(())) >= {entry.raw for entry in odd}


def test_an_mp4_whose_index_stands_first_still_plays(copy_of, tmp_path):
    import av

    plain = copy_of("m4a")
    source = tmp_path / "fast.m4a"
    with av.open(str(plain)) as old, av.open(str(source), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    data = source.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    target = tagged(source)
    assert packets(target) == packets(source)
    again = tagged(target, TEXTS | {"zone": "GREEN"})
    assert read_fields(again)["zone"] == ["GREEN"]
    assert abs(again.stat().st_size - target.stat().st_size) < 64, "room is used again"


def test_large_wav_headers_are_kept(tmp_path):
    import soundfile
    from tagged_files import RATE, tone

    source = tmp_path / "rf64.wav"
    soundfile.write(source, tone(), RATE, format="RF64", subtype="PCM_24")
    target = tagged(source)
    assert target.read_bytes()[:4] == b"RF64"
    np.testing.assert_array_equal(soundfile.read(target)[0], soundfile.read(source)[0])
    assert read_tags(target).texts()["zone"] == ("PURPLE",)
    assert back(target, source).read_bytes() == source.read_bytes()


def test_an_odd_last_chunk_without_its_pad_byte(tmp_path):
    body = (
        b"fmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
        + b"data"
        + struct.pack("<I", 5)
        + b"\x80" * 5
    )
    source = tmp_path / "odd.wav"
    source.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    target = tagged(source)
    assert read_fields(target)["zone"] == ["PURPLE"]
    assert rest_digest(target) == rest_digest(source)


def test_an_id3_tag_before_flac_stays(copy_of, tmp_path):
    prefix = b"ID3\x03\0\0\0\0\0\x0f" + b"TIT2\0\0\0\x05\0\0\0abcd"
    source = tmp_path / "prefixed.flac"
    source.write_bytes(prefix + copy_of("flac").read_bytes())
    target = tagged(source)
    assert target.read_bytes().startswith(prefix + b"fLaC")
    assert read_fields(target)["zone"] == ["PURPLE"]


def test_what_is_no_audio_is_refused_with_a_sentence(tmp_path):
    for name, data in {
        "text.mp3": b"This is text.\n" * 100,
        "empty.mp3": b"",
        "tag only.mp3": b"ID3\x03\0\0\0\0\0\x00",
        "cut.flac": b"fLaC\0\0\0\x22abc",
        "cut.wav": b"RIFF\xff\0\0\0WAVEdata\xff\xff\0\0abc",
        "cut.ogg": b"OggS" + bytes(40),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError, match="xpected|damaged|ends"):
            read_tags(path)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\ufeff"), min_size=1, max_size=60
    )
)
def test_any_text_comes_back(text):
    for form in ("id3v2.2", "id3v2.3", "id3v2.4"):
        tag = id3.Id3Tag(int(form[6]), 0, False, (), b"")
        for name in FIELDS:
            entry = id3.encode_frame(form, name, text)
            parsed = id3.parse(id3.render(id3.with_entries(tag, [entry, entry])))
            assert [(one.field, one.text) for one in id3.entries_of(parsed)] == [(name, text)] * 2
            assert parsed.frames == (entry.raw, entry.raw)
    assert mp4.encode_atom("zone", text).raw.endswith(text.encode())


@settings(max_examples=60, deadline=None)
@given(
    vendor=st.binary(max_size=20),
    raws=st.lists(st.binary(max_size=40), max_size=8),
    rest=st.binary(max_size=5),
)
def test_vorbis_comments_are_bytes_in_bytes_out(vendor, raws, rest):
    block = render_comments(vendor, [Entry(raw) for raw in raws])
    found_vendor, entries = parse_comments(block + rest)
    assert (found_vendor, [entry.raw for entry in entries]) == (vendor, raws)


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=80), version=st.sampled_from([2, 3, 4]), flags=st.sampled_from([0, 0x80, 0x40])
)
def test_hostile_id3_is_read_or_refused(body, version, flags):
    data = b"ID3" + bytes((version, 0, flags, 0, 0, 0, len(body))) + body
    try:
        tag = id3.parse(data)
    except InputError:
        return
    id3.entries_of(tag)


def test_writers_leave_the_source_alone(copy_of):
    for suffix in FORMATS:
        source = add_foreign_tags(copy_of(suffix))
        before = source.read_bytes()
        tagged(source)
        assert source.read_bytes() == before


def test_leading_tag_bytes_of_a_footer(tmp_path):
    path = tmp_path / "footer"
    path.write_bytes(b"ID3\x04\0\x10\0\0\0\x05" + bytes(30))
    with path.open("rb") as file:
        assert chunks.leading_tag_bytes(file) == 25
