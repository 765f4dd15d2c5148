"""The catalogue to a challenger, its metrics, and a promoted champion."""
