"""Storage: the lake, its tables and ledger, the views over them, and what is published from it.

`Lake.open(place)` opens it; `append` and `pending` are the ledger; `publish` tags a snapshot and exports it.
"""

from warehouse.database.location import LakeLocation
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.export.publish import Publication, publish
from warehouse.lake import Lake

__all__ = ["Lake", "LakeFailure", "LakeLocation", "LakeUsageError", "Publication", "publish"]
