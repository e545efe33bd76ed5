"""Run folders: JSON, NetCDF and Orbax arrays; nothing in them is ever executed."""

from jaxtune.checkpoint._checkpoints import Checkpoints as Checkpoints, Saver as Saver
from jaxtune.checkpoint._fingerprint import data_hash as data_hash, differences as differences, text_hash as text_hash
from jaxtune.checkpoint._folder import RunFolder as RunFolder, in_json as in_json
from jaxtune.checkpoint._orbax import heard as heard, tell_all as tell_all
