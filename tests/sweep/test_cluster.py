"""What is refused of a cluster, with or without Ray."""

import sys

import pytest
from problems import digits, linear

import jaxtune as jt

EXPERIMENT = jt.Experiment(linear, jt.grid(lr=[0.1]), digits(), steps=2)


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"`cluster` is .*pip install 'jaxtune\[ray\]'"):
        jt.run(EXPERIMENT, out=tmp_path / "run", cluster=jt.Ray())


def test_a_cluster_needs_a_folder_and_is_a_cluster(tmp_path):
    with pytest.raises(ValueError, match="`out` is None: the workers of a cluster meet in a folder"):
        jt.run(EXPERIMENT, cluster=jt.Ray())
    with pytest.raises(TypeError, match="`cluster` is 'str': it is no cluster"):
        jt.run(EXPERIMENT, out=tmp_path / "run", cluster="ray")


def test_a_cluster_and_several_processes_are_not_for_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match=r"`cluster` is Ray\(.*2 processes run together.*Start one process"):
        jt.run(EXPERIMENT, out=tmp_path / "run", cluster=jt.Ray())


@pytest.mark.parametrize("bad", [dict(cpus=0), dict(gpus=-1), dict(retries=-1), dict(cpus=1.5)])
def test_numbers_of_a_cluster_are_checked(bad):
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(bad))}`"):
        jt.Ray(**bad)
