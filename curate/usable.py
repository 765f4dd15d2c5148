"""Which images may be labelled and trained on."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate import fingerprints, groups
from curate.catalogue import Catalogue
from curate.labels import LIVE, Codes, Flags, Said, apart
from curate.snapshot import NONE, Snapshot


def usable_images(catalogue: Catalogue, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the rows of `images` that may be labelled and trained on, indexed by image_id.

    Those kept, those a person put back (action keep), duplicates reopened (`_reopened`) and what
    was contamination before a redraw (`_redrawn`), all with a face, and patches of an eye.

    Not among them: a file that was replaced in place since; a synthetic image whose parent is gone
    or no longer believed bona fide; a train image whose group turns out to reach into dev or test
    (promise 4).
    ``columns``: all, or those named and image_id.
    """
    snapshot = Snapshot(catalogue)
    flags = usable(snapshot, Said(snapshot), groups.split_ranks(snapshot))
    names = None if columns is None else ["image_id", *columns]
    images = catalogue.read("images", None if names is None else dict.fromkeys(names))
    return images[flags].set_index("image_id", drop=False)


def usable(snapshot: Snapshot, said: Said, split: Codes) -> Flags:
    """Return (snapshot.images,) which images `usable_images` holds.

    ``said`` is of task liveness, ``split`` is `groups.split_ranks`.
    """
    images = snapshot.read("images", ["parent_id", "status", "reason", "origin"])
    best = said.best
    chosen = (images["status"] == "kept").to_numpy(copy=True)
    back = said.kept_back()
    chosen[back[back < snapshot.images]] = True
    duplicate = (images["status"] == "duplicate").to_numpy()
    chosen[_reopened(snapshot, said, best, np.flatnonzero(duplicate))] = True
    chosen |= _redrawn(snapshot, (images["reason"] == "contamination").to_numpy(), split)
    parent = images["parent_id"].to_numpy()
    bonafide = (parent != NONE) & (parent < snapshot.images) & (best[parent] == LIVE)
    orphaned = (images["origin"] == "synthetic").to_numpy() & ~bonafide
    seen = snapshot.table("images", ["face", "shows"])
    shown = pc.or_kleene(seen["face"].is_valid(), pc.equal(seen["shows"].cast(pa.string()), "eye"))
    leaking = groups.leaking(snapshot, said, split)[: snapshot.images]
    shut_out = orphaned | leaking | _replaced(snapshot)
    found: Flags = chosen & ~shut_out & np.asarray(shown.fill_null(False))
    return found


def _reopened(snapshot: Snapshot, said: Said, best: Codes, copies: Codes) -> Codes:
    """Return those of ``copies``, the duplicates, that count after all.

    Where the copy kept is not visible any more, or bears no label or another one, a duplicate with
    a label of its own is reopened, one for each different label (promise 2); and where the copy
    kept is not visible, one of those without a label.
    """
    home = groups.homes(snapshot)[copies]
    copies, home = copies[home != NONE], home[home != NONE]
    sure = said.resolved != NONE
    differ = apart(best[copies], best[home], said.words)
    learnt = sure[copies] & ~sure[home]
    reopened = differ | learnt | (home >= snapshot.images)
    copies, home = copies[reopened], home[reopened]
    rows = pd.DataFrame({"copy": copies, "home": home, "word": best[copies]})
    crowd = rows[rows.duplicated(["home", "word"], keep=False)]
    first = crowd.iloc[np.argsort(snapshot.ids(crowd["copy"].to_numpy()).to_numpy(object))]
    first = first.drop_duplicates(["home", "word"])
    return np.concatenate([rows["copy"].drop(crowd.index), first["copy"]])


def _redrawn(snapshot: Snapshot, contamination: Flags, split: Codes) -> Flags:
    """Tell which contaminations a redraw gave a split; copies of other images stay away."""
    pairs = snapshot.read("pairs", ["a", "b", "kind"])
    copies = np.zeros(snapshot.total, bool)
    copies[pairs.loc[pairs["kind"] == "contamination", ["a", "b"]].to_numpy()] = True
    back: Flags = contamination & (split != NONE)[: snapshot.images] & ~copies[: snapshot.images]
    return back


def _replaced(snapshot: Snapshot) -> Flags:
    """Tell which images lie nowhere any more: another content was found at their only place."""
    later = fingerprints.repeated_later(snapshot.table("images", ["uri"])["uri"])
    if not later.any():
        return later
    images = snapshot.read("images", ["uri", "also_at"])
    places = snapshot.read("places", ["image_id", "uri"])
    elsewhere = images["also_at"].str.len().fillna(0).to_numpy() > 0
    places = places[places["image_id"] < snapshot.images]
    own = images["uri"].reindex(places["image_id"]).to_numpy()
    elsewhere[places["image_id"].to_numpy()[places["uri"].to_numpy() != own]] = True
    return later & ~elsewhere
