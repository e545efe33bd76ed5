"""Arbitrary arrays, streams, tables and archives."""

import io
import warnings

import numpy as np
from faults.fuzz.values import anything, few, mostly, scalars, words, works_or_is_refused
from faults.inputs import written
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import jaxtune as jt

n = st.integers(0, 12)


def as_objects(values):
    """Returns an array of Python objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


inputs = n.flatmap(
    lambda n: npst.arrays(
        st.sampled_from(
            [np.float32, np.float64, np.float16, np.uint8, np.int64, bool, complex, "U3", "M8[s]", "m8[s]"]
        ),
        st.tuples(st.just(n), *[st.integers(0, 3)] * 2) | st.just((n, 2)) | st.just((n,)),
    )
)
labels = n.flatmap(
    lambda n: st.one_of(
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
        st.lists(st.integers(-1, 5), min_size=n, max_size=n).map(np.array),
        st.lists(st.sampled_from(["a", "b", ""]), min_size=n, max_size=n),
        st.lists(scalars, min_size=n, max_size=n).map(as_objects),
        npst.arrays(st.sampled_from([np.float64, bool, "S2", "U2"]), n),
    )
)
fractions = st.one_of(st.lists(st.floats(0, 1), min_size=2, max_size=4), st.lists(anything, max_size=3), anything)
no_numbers = anything.filter(lambda v: not isinstance(v, (list, tuple, np.ndarray)))  # a label of 2^31 fills the memory
datasets = st.fixed_dictionaries(
    {"x": inputs | st.dictionaries(words, inputs, max_size=2) | anything, "y": labels | no_numbers},
    optional={
        "weight": n.flatmap(lambda n: npst.arrays(st.sampled_from([np.float32, int]), n)) | anything,
        "groups": labels | anything,
        "fractions": fractions,
        "seed": scalars,
        "classes": st.integers(-1, 5) | scalars,
    },
) | st.integers(4, 30).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "x": npst.arrays(np.float32, (n, 2), elements=st.floats(width=32)),
            "y": st.lists(st.integers(0, 2), min_size=n, max_size=n),
        },
        optional={
            "weight": st.lists(st.floats(-0.1, 1) | st.none(), min_size=n, max_size=n),
            "groups": st.lists(st.integers(0, 9), min_size=n, max_size=n),
            "fractions": fractions,
        },
    )
)


def splits_are_made_or_refused(arguments):
    def make():
        made = jt.data.from_arrays(
            arguments["x"], arguments["y"], **{k: v for k, v in arguments.items() if k not in "xy"}
        )
        assert min(len(made.train), len(made.valid), len(made.test)) > 0 and made.outputs is not None

    works_or_is_refused(make)


pairs = st.tuples(npst.arrays(np.float32, 2, elements=st.floats(-9, 9, width=32)), st.integers(0, 3))
examples = mostly(pairs, st.one_of(st.tuples(inputs, labels), st.tuples(anything, anything), anything))
streams = st.tuples(
    mostly(st.lists(examples, min_size=1, max_size=3) | st.lists(pairs, min_size=1), anything),
    st.dictionaries(st.sampled_from(["seed", "sample_size"]), mostly(few, scalars)),
)


def stream_is_made_or_refused(drawn):
    source, options = drawn
    works_or_is_refused(lambda: len(jt.data.Stream(source, **options).sample))


fields_of_tables = st.one_of(
    st.integers(-2, 3).map(str),
    st.floats().map(str),
    st.text(max_size=5),
    st.sampled_from(["", '"', '"a,b"', str(10**30)]),
)
rows = st.lists(st.lists(fields_of_tables, min_size=2, max_size=2).map(",".join), max_size=8)
sound_rows = st.lists(
    st.tuples(st.floats(-9, 9), st.integers(0, 1) | st.sampled_from(["a", 10**30, "1_0"])), max_size=12
)
tables = st.tuples(
    mostly(
        sound_rows.map(lambda lines: "\n".join(["a,y", *(f"{x},{y}" for x, y in lines)]).encode()),
        st.one_of(
            rows.map(lambda lines: "\n".join(["a,y", *lines]).encode("utf-8", "replace")),
            st.text().map(lambda text: text.encode("utf-8", "replace")),
            st.binary(),
        ),
    ),
    st.fixed_dictionaries(
        {"target": mostly(st.just("y"), words | st.none() | st.just("a"))},
        optional={
            "inputs": mostly(st.just(["a"]), st.lists(words, max_size=2) | anything),
            "groups": mostly(st.just("a"), words),
            "separator": mostly(st.just(","), st.sampled_from([";", "", "ab", "\n", '"', None, 5])),
            "regression": st.booleans(),
            "fractions": mostly(st.just((0.4, 0.3, 0.3)), fractions),
        },
    ),
)


def csv_is_read_or_refused(drawn):
    content, options = drawn
    works_or_is_refused(lambda: jt.data.from_csv(written("fuzz.csv", content), **options))


@st.composite
def damaged_archives(draw):
    """Returns the bytes of an archive of NumPy's, some of which are not as they were written."""
    made, n = io.BytesIO(), draw(st.integers(3, 12))
    save = draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(made, x=np.arange(2.0 * n).reshape(n, 2), y=np.arange(n) % 2, z=np.array("abc"))
    content = bytearray(made.getvalue())
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=2)):
        content[place] = byte
    return bytes(content[: draw(mostly(st.none(), st.integers(0, len(content))))])


archives = st.tuples(
    mostly(
        damaged_archives(), st.binary() | st.binary().map(b"PK\x03\x04".__add__) | st.binary().map(b"\x93NUMPY".__add__)
    ),
    mostly(
        st.just({}),
        st.fixed_dictionaries(
            {}, optional={"x": words | st.just("z"), "y": words | st.just("x"), "groups": st.just("y")}
        ),
    ),
)


def npz_is_read_or_refused(drawn):
    content, options = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zip files that hold a name twice
        works_or_is_refused(lambda: jt.data.from_npz(written("fuzz.npz", content), **options))
