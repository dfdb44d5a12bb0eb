"""The JSON API of market, by topic; each module is a thin layer over jobs, runs and stores.

============== ======================================================================================
`training`     ``/api/ml-management``: start, status and cancellation of trainings, labels, migration
`models`       the registry: stages, files, deletion; what MLflow holds
`retraining`   the service that trains again by itself
`collection`   the collector as a service
`hyperopt`     ``/api/hyperopt``: searches for settings
`holdout`      ``/api/ml-backtesting``: the sealed period
`ensemble`     ``/api/ensemble``: trainings of the two transformers, and progress by WebSocket
============== ======================================================================================
"""

from __future__ import annotations

from fastapi import APIRouter

from earmark.web.api.market import collection, ensemble, holdout, hyperopt, models, retraining, training

__all__ = ["router"]

router = APIRouter(tags=["market"])
for _module in (training, models, retraining, collection, hyperopt, holdout, ensemble):
    router.include_router(_module.router)
