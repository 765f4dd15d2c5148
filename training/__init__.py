"""The catalogue to a challenger, its metrics, and a promoted champion."""

import curate  # noqa: F401  it keeps the libraries imported below from phoning home
