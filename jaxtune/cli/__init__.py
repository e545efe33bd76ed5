"""The command line: `jaxtune run FILE`."""

from jaxtune.cli._main import main as main, script as script
