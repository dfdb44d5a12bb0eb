# Everything here runs in the environment that is active.
.PHONY: test slow slow-market slow-meter slow-appliance slow-web check docs reference build constraints shipped-meter

test:            ## the quick tests
	python -m pytest -n auto --dist worksteal

slow:            ## all tests
	python -m pytest -n auto --dist worksteal -m "slow or not slow"

slow-market:     ## the longer tests of the market alone: the guide, kills, a full disk, PostgreSQL
	python -m pytest -n auto --dist worksteal -m slow tests/tasks/market tests/faults tests/orderbook tests/store

slow-meter:      ## the longer tests of the meter alone: the guide, kills, a full disk, rendered scores
	python -m pytest -n auto --dist worksteal -m slow tests/tasks/meter

slow-appliance:  ## the longer tests of the room alone: the guides, kills, networks, a full disk, a broker with TLS
	python -m pytest -n auto --dist worksteal -m slow tests/tasks/appliance tests/models/test_appliance_trainer.py

slow-web:        ## the longer tests of the browser alone: whole journeys, kills, every operation of the API at length
	python -m pytest -n auto --dist worksteal -m slow tests/web

check:           ## style, types, layers
	ruff check .
	ruff format --check .
	mypy
	lint-imports

reference:       ## write docs/reference from the code
	python docs/generate.py

docs:            ## the documentation site, in docs/_build/html; warnings are errors
	python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html

build:           ## wheel and source archive, in dist/
	python -m pip wheel --no-deps -w dist .

constraints:     ## versions of a clean installation of every extra
	python -m pip freeze --exclude-editable --exclude earmark | sed 's/+cpu$$//' > constraints.new
	(sed -n '/^#/p' constraints.txt; cat constraints.new) > constraints.txt.new
	mv constraints.txt.new constraints.txt && rm constraints.new

shipped-meter:   ## train the model of meter that is shipped: renders 3300 clips into build/meter, then trains
	python tools/ship_meter.py build/meter
