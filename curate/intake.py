"""What `curate ingest` needs before its stage: the recipe, the files; and splits drawn anew."""

from collections.abc import Sequence
from typing import Any

from curate import engine, eyewatch, recipes, runs, schema, show, sources
from curate import resplit as resplitting
from curate.errors import SourceError
from curate.recipes import Recipe
from curate.sources import Item
from curate.trees import Tree
from curate.video import Sampling
from curate.workspace import Workspace


def recipe(here: Workspace, trees: Sequence[Tree], name: str, trust: str | None) -> Recipe | None:
    """Return the recipe called ``name``, or the one that fits for "auto"; say on stderr which.

    Raises:
        SourceError: there is none of that name.
    """
    known = recipes.load_recipes(here)
    if name == "auto":
        chosen, why = sources.choose(trees, known)
        show.note(why)
        if trust == "given" and chosen is None and "manifest" not in why:
            show.note("a plain folder carries no labels, so there is nothing to trust")
        return chosen
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise SourceError(
            f"no recipe {name!r}; known: {names}.\n"
            "Next: --recipe auto, or write one under datasets/"
        )
    show.note(f"recipe {name}: {known[name].description}")
    return known[name]


def items(
    here: Workspace, trees: Sequence[Tree], chosen: Recipe | None, *, fps: float, faces: bool
) -> list[Item]:
    """Return what lies in ``trees`` as the recipe reads it; of videos ``fps`` frames a second."""
    sampling = Sampling(fps, eyewatch.closed_in if faces else None)
    threads = engine.threads(here.config.threads)
    return list(sources.scan(trees, chosen, sampling=sampling, threads=threads))


def resplit(here: Workspace, dry_run: bool) -> dict[str, Any]:
    """Draw the splits anew as a run of its own; return its id and how many images each got.

    Raises:
        SourceError: nothing is on record.
    """
    with runs.start(here, schema.REDRAW, {}) as run:
        run.recorded = not dry_run
        earlier = int((here.catalogue.runs_standing()["verb"] == schema.REDRAW).sum())
        drawn = resplitting.redraw(
            here.catalogue,
            fractions=here.config.splits.model_dump(),
            seed=here.config.seed + earlier + 1,
        )
        kept = drawn.loc[~drawn["contamination"], ["image_id", "split"]]
        counts = {name: int((kept["split"] == name).sum()) for name in schema.SPLITS}
        run.counts = counts | {"contamination": int(drawn["contamination"].sum())}
        if kept.empty:
            raise SourceError("nothing is on record to be split.\nNext: curate ingest FOLDER")
        if run.recorded:
            run.append("splits", kept)
    return {"run_id": "" if dry_run else run.run_id, **run.counts}
