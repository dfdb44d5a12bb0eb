"""The program in a process of its own, the small project of `meter_projects` in the place of the task."""

from __future__ import annotations

import sys

from earmark.cli.main import main
from earmark.tasks import registry

if __name__ == "__main__":
    registry.BUILT_IN["meter"] = "meter_projects:TASK"
    main(sys.argv[1:])
