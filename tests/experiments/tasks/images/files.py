"""Small files in the official formats."""

import gzip
import struct

import torch

IDX_BYTES = 0x08


def random_bytes(*shape, below=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(below, shape, generator=generator).to(torch.uint8)


def idx(array):
    """The content of an IDX file, not compressed."""
    header = struct.pack(f">BBBB{array.dim()}I", 0, 0, IDX_BYTES, array.dim(), *array.shape)
    return header + array.numpy().tobytes()


def write_idx(file, array):
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(gzip.compress(idx(array), mtime=0))


def write_fashion(folder, train, test):
    """Images and labels of both parts."""
    for name, (images, labels) in (("train", train), ("t10k", test)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)


def write_cifar(file, images, labels):
    records = torch.cat([labels[:, None], images.flatten(1)], 1)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(records.numpy().tobytes())
