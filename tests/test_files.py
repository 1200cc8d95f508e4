"""Files of others: what is damaged or hostile raises ``FormatError`` at a bounded cost; what is there is kept."""
import errno
import gzip
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, data, io
from microgradx.errors import Error, FormatError, OptionError

posix = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


def raw(header, content=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + content


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def npy(a):
    file = BytesIO()
    np.save(file, a)
    return file.getvalue()


def packed(members, compression=zipfile.ZIP_DEFLATED):
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                     # of a name that stands twice
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return file.getvalue()


# ----- mutations -----------------------------------------------------------------------------------------------------

def originals():
    """{(reader, what): content} of right files."""
    folder = Path(tempfile.mkdtemp())
    mgx.save({"a": Tensor([1.0, 2.0]), "b": [mgx.tensor([[1]]), ("x", None, 2.5)], 3: mgx.tensor([True])}, folder / "f",
             metadata={"k": "v"})
    entries = {"h": entry("F16", offsets=(0, 4)), "i": entry("BF16", offsets=(4, 8)), "j": entry("U8", (3, 1), (8, 11))}
    idx = b"\0\0\x0d\2" + struct.pack(">II", 2, 2) + bytes(16)
    return {("load", "structure"): (folder / "f").read_bytes(), ("load", "flat"): raw(entries, bytes(range(11))),
            ("idx", "plain"): idx, ("idx", "gzip"): gzip.compress(idx),
            ("npz", "stored"): packed([("x.npy", npy(np.ones((2, 3)))), ("y.npy", npy(np.arange(3)))],
                                      zipfile.ZIP_STORED),
            ("npz", "deflated"): packed([("x.npy", npy(np.ones((2, 3)))), ("y.npy", npy(np.array(["a"])))])}


def mutated(content, rng):
    """The bytes with some of them flipped, cut, doubled, moved or replaced by what breaks parsers."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(found) + 1))
        length = int(rng.integers(1, 9))
        kind = rng.integers(8)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del found[at:]
        elif kind == 2:
            del found[at:at + length]
        elif kind == 3:
            found[at:at] = found[at:at + length * 4]
        elif kind == 4:
            found[at:at + length] = rng.bytes(length)
        elif kind == 5:
            found[at:at + 4] = struct.pack("<I", int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])))
        elif kind == 6:
            found[at:at + 1] = bytes(rng.choice([b"{", b"}", b"[", b"]", b'"', b"\\u0000", b"-", b"9" * 20, b"1e999",
                                                 b"NaN", b"null", b"true", b",", b":"]))
        else:
            found += bytes(length)
    return bytes(found)


def read(reader, path):
    return {"load": mgx.load, "idx": data.idx, "npz": data.npz}[reader](path)


def fuzz(count, seed, folder):
    """Read ``count`` mutated files; returns how many were refused. An error that is not ours is raised."""
    rng, refused, path = np.random.default_rng(seed), 0, os.path.join(folder, "mutated")
    kinds = list(originals().items())
    for k in range(count):
        (reader, _), content = kinds[k % len(kinds)]
        content = mutated(content, rng)
        Path(path).write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(reader, path)
        except FormatError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{reader} of {content!r}") from error
    return refused


@pytest.mark.parametrize("reader, what", originals())
def test_the_originals_are_right(tmp_path, reader, what):
    (tmp_path / "f").write_bytes(originals()[reader, what])
    assert len(read(reader, tmp_path / "f"))


def test_mutated_files(tmp_path):
    """In a process of its own, with a bound on its memory."""
    program = f"""
        import sys; sys.path[:0] = {sys.path!r}
        from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_files
        try:
            import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        except ImportError: pass
        print(test_files.fuzz(1200, 0, {str(tmp_path)!r}))"""
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert 300 < int(run.stdout) < 1200


# ----- what is in them -----------------------------------------------------------------------------------------------

def test_half_precision_becomes_float32(path):
    numbers = np.float32([1.5, -0.0, np.inf, 2.0**-130, -3.140625])
    upper = (numbers.view("<u4") >> 16).astype("<u2")
    path.write_bytes(raw({"b": entry("BF16", (5,), (0, 10)), "h": entry("F16", (1, 2), (10, 14))},
                         upper.tobytes() + np.float16([0.5, 65504]).tobytes()))
    state = mgx.load(path)
    assert state["b"].dtype == state["h"].dtype == np.float32
    assert state["b"].numpy().tobytes() == (upper.astype("<u4") << 16).view("<f4").tobytes()
    assert state["h"].tolist() == [[0.5, 65504]]


@pytest.mark.parametrize("content, words", [
    (raw({"a": entry("F8_E4M3", (8,))}, bytes(8)), "'a' is of 'F8_E4M3', floats of at most 8 bits; convert"),
    (raw({"a": entry("C64", (1,))}, bytes(8)), "'a' is of 'C64', complex numbers; store"),
    (raw({"a": entry("X9")}, bytes(8)), "'a' is of 'X9'; there are F64"),
    (raw(b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}", bytes(8)),
     "the key 'a' stands twice"),
    (raw(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)), "'dtype' stands twice"),
    (raw(b'{"__metadata__":{"k":"1","k":"2"}}'), "'k' stands twice"),
    (raw({"a": entry(), "b": entry()}, bytes(8)), "'b' begins at byte 0"),
    (raw({"a": entry(shape=(True,))}, bytes(8)), "not lists of integers"),
    (b"PK\3\4" + bytes(22) + b"\x0b\0\0\0" + b"m/data.pkl" + bytes(40), "torch checkpoint.*torch.save_file"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(40), "torch checkpoint"),
    (b"\x80\x05\x95" + bytes(40), "is a pickle"), (npy(np.ones(9)), "npy file: numpy.load"),
    (packed([("w.npy", npy(np.ones(2)))]), "npz file: microgradx.data.npz or numpy.load"),
    (packed([("w.txt", b"text" * 20)]), "is a zip file"), (gzip.compress(bytes(range(99))), "packed with gzip"),
    (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5")])
def test_what_is_said_of_a_file(path, content, words):
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"^load: '.*file.safetensors': .*{words}"):
        mgx.load(path)


@pytest.mark.parametrize("names", [["x.npy", "y.npy", "x.npy"], ["x", "x.npy"]])
def test_two_arrays_of_one_name(tmp_path, names):
    (tmp_path / "d.npz").write_bytes(packed([(name, npy(np.ones(2))) for name in names]))
    with pytest.raises(FormatError, match="npz: .*two arrays are called 'x'"):
        data.npz(tmp_path / "d.npz")


# ----- what they cost ------------------------------------------------------------------------------------------------

BIG = 200 << 20


def bomb(kind):
    if kind == "idx":
        return gzip.compress(b"\0\0\x08\1" + struct.pack(">I", BIG) + bytes(BIG))
    return packed([("x.npy", npy(np.zeros(BIG, "u1")))])


@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_a_small_file_does_not_fill_the_memory(tmp_path, kind):
    path = tmp_path / "bomb"
    path.write_bytes(bomb(kind))
    assert path.stat().st_size < BIG // 500
    with pytest.raises(FormatError, match=f"^{kind}: .*more than the {64 << 20} that this file may hold"):
        read(kind, path)
    reader = {"idx": data.idx, "npz": data.npz}[kind]
    assert np.size(reader(path, limit=BIG + 1000) if kind == "idx" else reader(path, limit=BIG + 1000)["x"]) == BIG


def test_a_member_gives_no_more_than_it_said(tmp_path):
    """The lengths in a zip file may lie."""
    content = packed([("x.npy", npy(np.zeros(1 << 20, "u1")))])
    length = struct.pack("<I", len(npy(np.zeros(1 << 20, "u1"))))
    assert content.count(length) == 2
    (tmp_path / "d.npz").write_bytes(content.replace(length, struct.pack("<I", 1000)))
    with pytest.raises(FormatError):
        data.npz(tmp_path / "d.npz")


def test_an_array_that_says_to_be_huge(tmp_path):
    head = npy(np.zeros(3)).replace(b"(3,), }            ", b"(333333333333,), } ")
    assert b"333333333333" in head
    (tmp_path / "d.npz").write_bytes(packed([("x.npy", head)]))
    with pytest.raises(FormatError, match="npz: "):
        data.npz(tmp_path / "d.npz")


@pytest.mark.parametrize("text", [b"[" * (20 << 20), b'{"a":[' + b"[]," * (6 << 20) + b"[]]}"])
def test_headers_have_a_limit(path, text):
    path.write_bytes(raw(text))
    with pytest.raises(FormatError, match=f"a header of {len(text)} bytes, more than {16 << 20}"):
        mgx.load(path)


def test_what_load_refuses_save_refuses(path):
    with pytest.raises(OptionError, match="save: .*more than 16777216; store long lists"):
        mgx.save({"history": [0.123456789] * 1_500_000}, path)
    assert not path.exists()


# ----- what is no file -----------------------------------------------------------------------------------------------

@posix
@pytest.mark.parametrize("reader", ["load", "idx", "npz"])
def test_what_has_no_end_is_not_read(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")
    for name in [tmp_path / "pipe", "/dev/zero", "/dev/null"]:
        with pytest.raises(FormatError, match=f"{reader}: .*is a pipe, a device or a socket, not a file"):
            read(reader, name)
    with pytest.raises(IsADirectoryError):
        read(reader, tmp_path)
    with pytest.raises(FileNotFoundError):
        read(reader, tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError):
            read(reader, tmp_path / "s")


@posix
def test_a_pipe_stays_a_pipe(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    thread = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    thread.start()
    mgx.save({"a": Tensor([1.0])}, pipe)
    thread.join()
    (tmp_path / "copy").write_bytes(found[0])
    assert stat.S_ISFIFO(pipe.stat().st_mode) and mgx.load(tmp_path / "copy")["a"].tolist() == [1.0]
    mgx.save({}, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@posix
def test_a_socket_stays_a_socket(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OptionError, match="save: .*is a disk or a socket, not a file"):
            mgx.save({}, tmp_path / "s")
        assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode) and os.listdir(tmp_path) == ["s"]


# ----- saving over what is there -------------------------------------------------------------------------------------

@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_permissions_are_kept(path, mode):
    mgx.save({"a": 1}, path)
    path.chmod(mode)
    mgx.save({"a": 2}, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode and mgx.load(path) == {"a": 2}


@posix
def test_a_private_file_is_private_while_it_is_written(path, monkeypatch):
    mgx.save({}, path)
    path.chmod(0o600)
    modes, fsync = [], os.fsync

    def see(descriptor):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)
    monkeypatch.setattr(io.os, "fsync", see)
    before = os.umask(0)
    try:
        mgx.save({"a": 1}, path)
    finally:
        os.umask(before)
    assert modes == [0o600]


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept(path, monkeypatch):
    mgx.save({}, path)
    os.chown(path, 1234, 2345)
    path.chmod(0o660)
    mgx.save({"a": 1}, path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o660)

    def refuse(*args):
        raise PermissionError
    monkeypatch.setattr(io.os, "fchown", refuse)
    mgx.save({"a": 2}, path)
    found = path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o600)       # another group gets no rights of the old one


@posix
def test_links(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to("other")
    (tmp_path / "other").symlink_to("loop")
    with pytest.raises(OSError) as error:
        mgx.save({}, loop)
    assert error.value.errno == errno.ELOOP and loop.is_symlink() and (tmp_path / "other").is_symlink()
    folder = tmp_path / "folder"
    folder.mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder / "new")
    for k in range(2):                                      # where it leads is made, then replaced
        mgx.save({"a": k}, link)
        assert link.is_symlink() and mgx.load(folder / "new") == {"a": k}
    assert os.listdir(folder) == ["new"]


@pytest.mark.parametrize("name", ["x" * 255, "x" * 101, "\u00fc" * 127, "\u20ac" * 85, ".hidden", "a b'\"$", "x.part"])
def test_names_of_every_length(tmp_path, name):
    for k in range(2):
        mgx.save({"a": k}, tmp_path / name)
        assert mgx.load(tmp_path / name) == {"a": k} and os.listdir(tmp_path) == [name]


KILLED = """
    import os, signal, sys; sys.path[:0] = {sys_path!r}
    import microgradx as mgx
    from microgradx import io
    io.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    mgx.save({{"a": 1}}, {path!r})"""


@posix
@pytest.mark.parametrize("name", ["run.safetensors", "x" * 250])
def test_what_a_kill_leaves_is_cleared(tmp_path, name):
    path = tmp_path / name
    program = textwrap.dedent(KILLED.format(sys_path=sys.path, path=str(path)))
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", program], capture_output=True)
        assert run.returncode == -signal.SIGKILL
    left = os.listdir(tmp_path)
    assert len(left) == 1 and left[0].endswith(".part")     # the second has cleared what the first left
    others = [f"{name[:60]}.part", f"{name[:60]}.0123456.part", f"{name[:60]}x.01234567.part", "else.01234567.part"]
    for other in others:
        (tmp_path / other).write_bytes(b"")
    mgx.save({"a": 2}, path)
    assert sorted(os.listdir(tmp_path)) == sorted([name, *others]) and mgx.load(path) == {"a": 2}


@posix
def test_what_another_program_is_writing_is_left_alone(path, monkeypatch):
    """Two programs save one file at a time; the later one wins, and neither fails."""
    fsync, seen = os.fsync, []

    def meanwhile(descriptor):
        monkeypatch.setattr(io.os, "fsync", fsync)
        mgx.save({"a": "other"}, path)
        seen.append(mgx.load(path))
        fsync(descriptor)
    monkeypatch.setattr(io.os, "fsync", meanwhile)
    mgx.save({"a": "this"}, path)
    assert seen == [{"a": "other"}] and mgx.load(path) == {"a": "this"} and os.listdir(path.parent) == [path.name]


def test_errors_are_ours():
    assert issubclass(FormatError, Error)
