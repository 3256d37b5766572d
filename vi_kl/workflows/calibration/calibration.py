"""Calibration: what many simulated data sets say of a fitting procedure, in figures and in words."""

import dataclasses
import html
from typing import TYPE_CHECKING, Any

from vi_kl.core.records import Readable, plain, store
from vi_kl.workflows.calibration.rank_statistics import RankStatistics
from vi_kl.workflows.calibration.words import blind_spot, verdict_of

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, repr=False)
class Calibration(Readable, RankStatistics):
    """A record of where the true parameters lay among the draws of q, over many simulated data sets.

    It holds the figures (all fields of `RankStatistics` are fields here too) and the words that follow from them.

    Attributes:
        verdict: what the figures mean, in words.
        cannot_see: which faults could be there without showing in these figures.
    """

    verdict: str = dataclasses.field(init=False, repr=False)
    cannot_see: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        super().__post_init__()
        store(self, verdict=verdict_of(self), cannot_see=blind_spot(self))

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a table with one row per parameter; p values are adjusted for all parameters and tests together."""
        import pandas as pd  # half a second that fitting need not wait for

        columns: dict[str, Any] = {"parameter": self.parameters}
        for level in (0.5, 0.95):
            estimates = self.coverage(level).values()
            columns[f"{level:.0%} cover"] = [e.value for e in estimates]
            columns[f"± se {level:.0%}"] = [e.standard_error for e in estimates]
        columns["above median"] = [e.value for e in self.above_median().values()]
        columns |= {"bias": list(self.bias.values()), "width": list(self.width.values())}
        columns |= {f"p {name}": p for name, p in self.adjusted_p_values.items()}
        return pd.DataFrame(columns).set_index("parameter")

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return plain(self)

    @property
    def headline(self) -> str:
        """The method, the number of data sets, and the verdict."""
        return f"{self.method} over {len(self.pits)} simulated data sets. {self.verdict}"

    def __str__(self):
        table = self.to_dataframe().to_string(float_format=lambda x: f"{x:.3g}")
        title = f"Calibration of {self.method} over {len(self.pits)} simulated data sets"
        return "\n".join([title, table, self.verdict, f"Blind spot: {self.cannot_see}"])

    def _repr_html_(self):
        table = self.to_dataframe().to_html(float_format=lambda x: f"{x:.3g}")
        return "".join([table, *(f"<p>{html.escape(words)}</p>" for words in (self.verdict, self.cannot_see))])
