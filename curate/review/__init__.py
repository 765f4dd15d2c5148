"""Review: doubtful images go to the FiftyOne App, a person's decisions come back.

MongoDB and the App are a view: everything in them can be lost and pushed again. Decisions are rows
of the catalogue, appended and never replaced.
"""

import os

# FiftyOne reads these when it is imported. Without them unindexed fields are filtered by bare text
# inputs, and every start prints a remark about MongoDB's age.
os.environ.setdefault("FIFTYONE_APP_DEFAULT_QUERY_PERFORMANCE", "false")
os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")
