"""From trials to programs, and to the chunks of lanes that they are traced for."""

from jaxtune.sweep.programs._chunks import ChunkShape as ChunkShape
