"""Pytrees on disk, with a digest of every leaf, for Orbax does not notice a damaged byte; the only file that imports it."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np

from jaxtune._types import PyTree

_INLINE = 1024
"""Bytes up to which Orbax's storage keeps an array in its index, which is compressed; larger ones are not."""

_FORM = {"use_compression": False, "use_zarr3": True}
"""How arrays are stored: weights hardly compress, and Zarr 3 takes a third of the processor's time that Zarr 2 takes."""


def save(path: Path, tree: PyTree) -> list[dict[str, Any]]:
    """Writes a tree of arrays to a folder that does not exist, and returns what to know of its leaves to read them.

    Leaves are stored by number; their paths, shapes, types and SHA-256 are for the caller to keep. Empty arrays, which Orbax
    refuses, are in the description alone. Of several processes each writes by itself.
    """
    leaves = jtu.tree_leaves_with_path(tree)
    described = [
        {"path": [_key(k) for k in p], "shape": list(a.shape), "dtype": str(a.dtype), "sha256": _digest(np.asarray(a))}
        for p, a in leaves
    ]
    arrays = {str(i): np.asarray(a) for i, (_, a) in enumerate(leaves) if a.size}
    if arrays:
        with _checkpointer() as writer:
            writer.save(path, _as_own(arrays))
    return described


def described(leaves: Any) -> list[dict[str, Any]]:
    """Returns what `save` has returned, after it has been through JSON.

    Raises:
      ValueError, KeyError, TypeError: it is something else.
    """
    found = []
    for leaf in leaves:
        path = [key for key in leaf["path"] if isinstance(key, (str, int))]
        if len(path) < len(leaf["path"]):
            raise ValueError("a path holds keys that are neither names nor numbers")
        shape = tuple(int(n) for n in leaf["shape"])
        dtype, digest = str(np.dtype(leaf["dtype"])), str(leaf["sha256"])
        found.append({"path": path, "shape": shape, "dtype": dtype, "sha256": digest})
    return found


def load(path: Path, described: list[dict[str, Any]], like: PyTree | None) -> PyTree:
    """Returns the tree that `save` wrote, as NumPy arrays.

    Args:
      path: the folder.
      described: what `save` returned.
      like: a tree with the structure of the one saved; without it containers come back as nested dicts.

    Raises:
      ValueError: an array is not what was written, or is larger than all that lies there. Orbax and its storage raise what
        comes where files are missing or damaged.
    """
    import orbax.checkpoint as ocp

    # A few bytes that say that they are a petabyte are found out before memory is taken for it.
    lies = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if (said := sum(size for d in described if (size := _bytes(d)) > _INLINE)) > lies:
        raise ValueError(f"{said} bytes are said to lie in {lies}")
    leaves: list[Any] = [np.zeros(d["shape"], d["dtype"]) for d in described]
    wanted = {str(i): a for i, a in enumerate(leaves) if a.size}
    if wanted:
        as_numpy = {i: ocp.RestoreArgs(restore_type=np.ndarray) for i in wanted}
        with _checkpointer() as reader:
            # What storage says of itself has to agree, before it takes the memory that it asks for.
            _check_stored(dict(reader.metadata(path).item_metadata), wanted)
            for i, array in reader.restore(path, args=ocp.args.PyTreeRestore(wanted, as_numpy)).items():
                leaves[int(i)] = np.asarray(array)
    for leaf, d in zip(leaves, described, strict=True):
        if _digest(leaf) != d["sha256"]:
            raise ValueError("an array is not what was written")
    if like is not None:
        return jax.tree.unflatten(jax.tree.structure(like), leaves)
    if len(described) == 1 and not described[0]["path"]:
        return leaves[0]
    root: Any = {}
    for leaf, d in zip(leaves, described, strict=True):
        node = root
        for key in d["path"][:-1]:
            node = node.setdefault(key, {})
        node[d["path"][-1]] = leaf
    return root


def _check_stored(found: dict[str, Any], wanted: dict[str, np.ndarray]) -> None:
    """Refuses arrays that are not stored as `save` does: with other shapes, compressed, or in chunks larger than they are."""
    if {i: (tuple(m.shape), str(m.dtype)) for i, m in found.items()} != {
        i: (a.shape, str(a.dtype)) for i, a in wanted.items()
    }:
        raise ValueError("its arrays have other shapes than were written")
    for stored in found.values():
        zarr = getattr(stored.storage, "zarr_metadata", None)  # which older versions of Orbax do not tell
        chunks = {tuple(stored.storage.chunk_shape), tuple(stored.shape if zarr is None else zarr.chunk_shape)}
        if chunks != {tuple(stored.shape)} or (zarr is not None and zarr.compression is not None):
            raise ValueError("its arrays are compressed, or in other chunks than were written")


def tell_all(topic: str, name: str, text: str) -> None:
    """Says something on a topic, for all processes to hear."""
    from orbax.checkpoint import multihost

    multihost.get_jax_distributed_client().key_value_set(f"{topic}/{name}", text)


def heard(topic: str) -> dict[str, str]:
    """Returns what processes have said on a topic, by name."""
    from orbax.checkpoint import multihost

    found = multihost.get_jax_distributed_client().key_value_dir_get(f"{topic}/")
    return {key.rpartition("/")[2]: text for key, text in found}


def _checkpointer() -> Any:
    """Returns what writes and reads trees, uncompressed, without copies, and without waiting for other processes."""
    import orbax.checkpoint as ocp

    kinds, options = ocp.type_handlers, ocp.options.MultiprocessingOptions()
    numpy, own = kinds.NumpyHandler(deepcopy_host_arrays=False), kinds.ArrayHandler()
    if jax.process_count() > 1:
        me = jax.process_index()
        options = ocp.options.MultiprocessingOptions(me, {me}, f"jaxtune{me}")
        own = kinds.ArrayHandler(
            primary_host=None, replica_id=None, use_replica_parallel=False, enable_write_sharding_file=False
        )
    registry = kinds.create_type_handler_registry((jax.Array, own), (np.ndarray, numpy))
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options, type_handler_registry=registry, **_FORM)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _as_own(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns arrays in a form in which Orbax writes them from every process, to each its own folder.

    It leaves NumPy's arrays to the first process, and takes arrays of JAX that are spread over all of them. So each is made one
    that is replicated over a mesh with one device of every process, of which this process's replica is written.
    """
    count = jax.process_count()
    if count == 1:
        return arrays
    devices = [next(d for d in jax.devices() if d.process_index == i) for i in range(count)]
    everywhere = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, "processes"), jax.sharding.PartitionSpec())
    with jax.enable_x64(True):  # or 64 bits would become 32
        mine = jax.device_put(arrays, devices[jax.process_index()])
        return {
            name: jax.make_array_from_single_device_arrays(a.shape, everywhere, [a], dtype=a.dtype)
            for name, a in mine.items()
        }


def _bytes(leaf: dict[str, Any]) -> int:
    size = np.dtype(leaf["dtype"]).itemsize
    for n in leaf["shape"]:
        size *= n
    return size


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # which copies nothing
    return digest.hexdigest()


def _key(entry: Any) -> str | int:
    for name in ("key", "name", "idx"):
        value = getattr(entry, name, None)
        if isinstance(value, (str, int)):
            return value
    return str(entry)
