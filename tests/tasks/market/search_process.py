"""A search that another process kills: python search_process.py FOLDER, a line per epoch."""

import sys

from search_objectives import Formula

from earmark.tasks.market.search.search import SearchRequest, search
from earmark.tasks.market.search.state import Folder


class Slow(Formula):
    def __call__(self, settings, on_epoch):
        def tell(entry):
            print(int(entry["epoch"]), flush=True)
            on_epoch(entry)

        return super().__call__(settings, tell)


if __name__ == "__main__":
    request = SearchRequest("mpd", mode="group", group="learning_rate", n_trials=4, patience=0)
    search(Folder(sys.argv[1]), request, lambda: Slow(0.05))
