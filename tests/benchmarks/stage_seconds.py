"""Run `probes.angles` of any checkout and write down the seconds of processor time of each stage.

Started by `tests.benchmarks.end_to_end` as a script, so that the checkout can be one that has no such file: all that is
imported is the checkout's. Stages are known by the names that they print while they run.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STAGES = ("imports", "rollouts", "scoring", "gradients", "null", "picture")


def main(report: str, *argv: str) -> int:
    """Run the command with its flags; write seconds by stage, and of the whole process as `all`."""
    seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.process_time()
        yield
        seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - began

    import cli.progress

    shown: Callable[..., Any] = cli.progress.progress

    @contextmanager
    def progress(name: str, n: int) -> Iterator[Any]:
        with timed(name), shown(name, n) as show:
            yield show

    cli.progress.progress = progress  # type: ignore[assignment]
    with timed("imports"):
        import probes.analyzer
        import probes.angles

    kind = probes.analyzer.Measurement
    save = kind.save

    def saved(self: Any, *args: Any) -> Any:
        with timed("picture"):
            return save(self, *args)

    kind.save = saved  # type: ignore[method-assign]
    code = probes.angles.main(argv)
    Path(report).write_text(json.dumps({**seconds, "all": time.process_time()}))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
