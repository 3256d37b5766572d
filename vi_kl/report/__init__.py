"""Reports for readers: tables, figures and pages of records that other parts have made. Nothing is fitted here.

Its parts:

    tables        rows and number formats of a Comparison, and what should not be missed about it
    terminal      the same by rich: `print_comparison(table)`
    comparison    the page of a Comparison, and a folder of it and its figures: `write_report(table, "report", key=0)`
    comparison_figures  its figures, as pictures for the page and by themselves
    calibration   figures of a Calibration: `plot_calibration(calibration)`
    detection     the table of planted failures
    figures       what these figures are made of; each function draws on axes that it is given
    draws         draws of all sites, for figures
    picture       a figure drawn once, as SVG and as PNG
    provenance    when a report was made, by what, with which keys and versions
    pages         one self-contained HTML page of sections, tables and pictures
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vi_kl.report.calibration import plot_calibration
    from vi_kl.report.comparison import comparison_page, write_comparison_page, write_report
    from vi_kl.report.comparison_figures import (
        plot_costs_of,
        plot_forest_of,
        plot_gaps_of,
        plot_marginals_of,
        plot_pairs_of,
        plot_traces_of,
        plot_weights_of,
    )
    from vi_kl.report.tables import comparison_table
    from vi_kl.report.terminal import print_comparison

# imported at first use, so that a table does not wait for matplotlib
SOURCES = {
    "comparison_page": "vi_kl.report.comparison",
    "comparison_table": "vi_kl.report.tables",
    "plot_calibration": "vi_kl.report.calibration",
    "plot_costs_of": "vi_kl.report.comparison_figures",
    "plot_forest_of": "vi_kl.report.comparison_figures",
    "plot_gaps_of": "vi_kl.report.comparison_figures",
    "plot_marginals_of": "vi_kl.report.comparison_figures",
    "plot_pairs_of": "vi_kl.report.comparison_figures",
    "plot_traces_of": "vi_kl.report.comparison_figures",
    "plot_weights_of": "vi_kl.report.comparison_figures",
    "print_comparison": "vi_kl.report.terminal",
    "write_comparison_page": "vi_kl.report.comparison",
    "write_report": "vi_kl.report.comparison",
}

__all__ = [
    "comparison_page",
    "comparison_table",
    "plot_calibration",
    "plot_costs_of",
    "plot_forest_of",
    "plot_gaps_of",
    "plot_marginals_of",
    "plot_pairs_of",
    "plot_traces_of",
    "plot_weights_of",
    "print_comparison",
    "write_comparison_page",
    "write_report",
]


def __getattr__(name: str):
    if name in SOURCES:
        return getattr(importlib.import_module(SOURCES[name]), name)
    raise AttributeError(f"module 'vi_kl.report' has no attribute {name!r}")
