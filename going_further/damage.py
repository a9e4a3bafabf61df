"""What is left of damaged files, to train on that."""

import os
import struct
import sys
import tempfile

from going_further import data_files


def without_damage(paths):
    """Put a copy of what can be used in the place of each damaged file.

    All files are read for that.

    Returns: (paths, lines that say what is left out). Exits with status 1 if nothing is left.
    """
    usable, lines = [], []
    for path in paths:
        words = data_files.problem(path)
        if not words:
            usable.append(path)
        elif data_files.unreadable(path):
            lines.append(f"Left out: {path}: {words}")
        else:
            try:
                copy, left_out, torn = remains(path)
            except OSError as error:  # a bad sector, or no room for the copy
                lines.append(f"Left out: {path}: {error.strerror}")
                continue
            rest = ", and what comes behind it" if torn else ""
            lines.append(f"Left out: {left_out} of the records of {path}{rest} (first: {words})")
            if os.fstat(copy.fileno()).st_size:
                _copies.append(copy)
                usable.append(f"/dev/fd/{copy.fileno()}")
    if not usable:
        sys.exit("\n".join([*lines, "Nothing is left to train on."]))
    return usable, lines


_copies = []  # files without a name, which last as long as this process


def remains(path):
    """Copy what can be used of a damaged file.

    Returns: (the copy; how many records are left out; whether the last of them is one whose
      length is damaged. Nothing tells where the next record begins).
    """
    copy, left_out, torn = tempfile.TemporaryFile(), 0, False  # noqa: SIM115
    for raw, data in walk(path):
        torn = raw is None
        if data is None or data_files.fault(data):
            left_out += 1
        else:
            copy.write(raw)
    copy.flush()
    return copy, left_out, torn


def walk(path):
    """Yields: (all bytes of a record, its data), in order.

    The data is None where its checksum is wrong. Both are None, and no more follows, where
    the record's length is damaged or reaches beyond the end.
    """
    # The format: https://www.tensorflow.org/tutorials/load_data/tfrecord
    with open(path, "rb") as file:
        while True:
            header = file.read(12)
            if not header:
                return
            if len(header) < 12 or struct.pack("<I", checksum(header[:8])) != header[8:]:
                yield None, None
                return
            (length,) = struct.unpack("<Q", header[:8])
            body = file.read(length + 4)
            if len(body) < length + 4:
                yield None, None
                return
            data, kept = body[:-4], body[-4:]
            yield header + body, data if struct.pack("<I", checksum(data)) == kept else None


def checksum(data):
    """The masked CRC-32C that a TFRecord file has of its bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_OF_BYTE = [_crc_of(byte) for byte in range(256)]
