"""Several annotators of the same units, reconciled by CROWDLAB (cleanlab). Pure."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from cleanlab.multiannotator import get_label_quality_multiannotator
from numpy.typing import NDArray


@dataclass(frozen=True)
class Consensus:
    """What several annotators come to.

    Attributes:
        units: indexed like the votes' units, those with several votes: class (the consensus, an
            index), quality in [0, 1], agreement (share of votes for it), votes, disputed (bool:
            not all votes are alike), tie (bool: another class has as many votes).
        annotators: annotator -> quality in [0, 1], worst first.
    """

    units: pd.DataFrame
    annotators: "pd.Series[float]"


def reconcile(votes: pd.DataFrame, probabilities: pd.DataFrame) -> Consensus | None:
    """Return the consensus on every unit with votes of two annotators or more; None without any.

    Args:
        votes: unit, annotator, class (int): the standing vote of each annotator on each unit.
        probabilities: (N, C) indexed by unit, of a model that has not seen the votes; votes on
            units it does not hold are left out. Its columns are the classes.

    CROWDLAB: Goh, Tkachenko and Mueller, 2022: the model counts as one more annotator, and each
    annotator by how well the others bear it out. One vote each way is a tie that a person settles,
    whatever the model says.
    """
    known = votes[votes["unit"].isin(probabilities.index)]
    wide = known.pivot(index="unit", columns="annotator", values="class")
    several = wide.notna().sum(axis=1) >= 2
    if not several.any():
        return None
    wide = wide[several].dropna(axis=1, how="all").astype(float)
    told = probabilities.loc[wide.index].to_numpy(np.float64)
    with warnings.catch_warnings():
        # Said where no two agree anywhere: a handful of disputes is no fault of the data.
        warnings.filterwarnings("ignore", message="Annotators do not agree on any example")
        found = get_label_quality_multiannotator(
            wide,
            told,
            consensus_method="majority_vote",
            return_detailed_quality=False,
            verbose=False,
        )
    counts = _counts(wide.to_numpy(), told.shape[1])
    most = counts.max(axis=1)
    quality = found["label_quality"]
    units = pd.DataFrame(
        {
            "class": quality["consensus_label"].to_numpy(np.int64),
            "quality": np.clip(quality["consensus_quality_score"].to_numpy(np.float64), 0, 1),
            "agreement": quality["annotator_agreement"].to_numpy(np.float64),
            "votes": quality["num_annotations"].to_numpy(np.int64),
            "disputed": (counts > 0).sum(axis=1) > 1,
            "tie": (counts == most[:, np.newaxis]).sum(axis=1) > 1,
        },
        index=wide.index,
    )
    by = found["annotator_stats"]["annotator_quality"].sort_values(kind="stable")
    return Consensus(units, by)


def _counts(wide: NDArray[np.float64], classes: int) -> NDArray[np.int64]:
    """Return (n, C) votes of each class over (n, annotators), NaN where there is none."""
    return np.stack([(wide == which).sum(axis=1) for which in range(classes)], axis=1)
