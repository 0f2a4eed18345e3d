"""What each table and figure of the papers needs: row, gin file, metric, command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from deblur_tf.reproduction.contents import Cell, Figure, Measurement, Row, Table

Paper = dict[str, dict[str, Any]]

PLAIN = {
    "LPIPS": "lpips_alex",
    "NIQE": "niqe",
    "FID": "fid",
    "KID": "kid",
    "PSNR": "psnr",
    "SSIM": "ssim_matlab",
}
ALIGNED = {**PLAIN, "PSNR": "psnr_aligned", "SSIM": "ssim_aligned"}
REALBLUR = "realblur_j-v1"


def paper_tables() -> Paper:
    """The values that the papers print."""
    text = (resources.files("deblur_tf.reproduction") / "paper_tables.json").read_text("utf-8")
    return json.loads(text)


def _icdpm(name: str, protocol: str = "", run_of: str = "") -> Measurement:
    path = f"papers/icdpm/{name}.gin"
    return Measurement(path, protocol, run_of and f"papers/icdpm/{run_of}.gin")


# icDPM's tables 4 to 7 share one network; so do DvSR's two.
_GUIDED = "table4/ours"
_DVSR = "papers/dvsr/table1/ours.gin"


def _dvsr(name: str, run_of: str = _DVSR) -> Measurement:
    return Measurement(f"papers/dvsr/{name}.gin", "", run_of)


# Rows that this package can measure, by table and row name.
ROWS: dict[str, dict[str, Measurement]] = {
    **{
        f"icdpm/{n}": {
            "Ours": _icdpm(f"table{n}/ours", run_of=_GUIDED),
            "Ours-SA": _icdpm(f"table{n}/ours_sa", run_of=_GUIDED),
        }
        for n in (4, 5, 6, 7)
    },
    "icdpm/10": {
        "Addition": _icdpm("table10/add"),
        "Concatenate": _icdpm("table10/concat"),
        "Adaptive norm": _icdpm("table10/adagn"),
    },
    "icdpm/sec4.6": {
        "with": _icdpm("table4/ours"),
        "without": _icdpm("no_regression_loss"),
    },
    "dvsr/1": {"Ours": _dvsr("table1/ours"), "Ours-SA": _dvsr("table1/ours_sa")},
    "dvsr/2": {"Ours": _dvsr("table2/ours"), "Ours-SA": _dvsr("table2/ours_sa")},
    "dvsr/4": {letter: Measurement(f"papers/dvsr/table4/{letter}.gin") for letter in "abcdefg"},
}
# DeblurDiff begins with a converted prior, and its own training data is not available.
_TRAINED = "deblur-train --gin_file={gin_file} --photos=my_photos --init_from=sd21 --run_dir={run}"
_CONVERTED = "deblur-weights convert deblurdiff --from=model.safetensors -o {run}"
_DEBLURDIFF_ROWS = {
    "DeblurDiff": ("sd21", _TRAINED),
    "released weights": ("released_code", _CONVERTED),
}


def _deblurdiff(name: str, protocol: str = "", made_by: str = _TRAINED) -> Measurement:
    return Measurement(f"papers/deblurdiff/{name}.gin", protocol, made_by=made_by)


ROWS["deblurdiff/ablation"] = {
    "control branch alone": _deblurdiff("ablation/control_only"),
    "predictor without kernels": _deblurdiff("ablation/no_eac"),
    "kernels without the noisy latent": _deblurdiff("ablation/no_refinement"),
    "full model": _deblurdiff("ablation/full"),
}
for _set, _protocol in (("gopro", ""), ("realblur_j", REALBLUR), ("dvd", "dvd-v1")):
    ROWS[f"deblurdiff/{_set}"] = {
        name: _deblurdiff(file, _protocol, how) for name, (file, how) in _DEBLURDIFF_ROWS.items()
    }
ROWS["icdpm/4"] |= {"DvSR": _dvsr("table1/ours"), "DvSR-SA": _dvsr("table1/ours_sa")}
ROWS["icdpm/6"] |= {"DvSR": _dvsr("table2/ours"), "DvSR-SA": _dvsr("table2/ours_sa")}
ROWS["icdpm/5"] |= {
    "DvSR": Measurement("papers/icdpm/table5/dvsr.gin", "", _DVSR),
    "DvSR-SA": Measurement("papers/icdpm/table5/dvsr_sa.gin", "", _DVSR),
    "UNet": Measurement("papers/icdpm/table5/unet.gin", "", "papers/dvsr/table4/g.gin"),
}

OTHERS = (
    "another method: deblur-evaluate folders --restored=ITS_PICTURES --sharp=... measures "
    "its published pictures"
)


def _drawn(
    paper: str, figure: str, caption: str, file: str, run: str = "", row: str = ""
) -> Figure:
    """A figure that deblur-analyze draws, of the test set and the sampling of a row."""
    command = file.split("/")[0]
    source = f" --gin_file={row}.gin --data_dir=data -m {{runs}}/{run}" if row else ""
    return Figure(
        f"{paper}/{figure}",
        caption,
        f"analyses/{file}",
        f"deblur-analyze {command}{source} -o {{results}}/analyses/{command}",
    )


def _of_row(paper: str, figure: str, caption: str, file: str, made: Measurement) -> Figure:
    """A figure that deblur-evaluate writes."""
    command = made.evaluate_command("{runs}", "{results}")
    return Figure(f"{paper}/{figure}", caption, f"{made.results}/{file}", command, (made,))


def _grids(paper: str, figure: str, caption: str, rows: Mapping[str, Measurement]) -> Figure:
    """The grids of several rows in one plot, which deblur-analyze draws."""
    name = figure.replace(" ", "").replace(",", "_")
    folders = " ".join(f"{label}={{results}}/{made.results}" for label, made in rows.items())
    command = f"deblur-analyze grids {folders} -o {{results}}/analyses/{name}"
    file = f"analyses/{name}/grids.png"
    return Figure(f"{paper}/{figure}", caption, file, command, tuple(rows.values()))


def _table_2_models(protocol: str = "") -> dict[str, Measurement]:
    """The models of icDPM's Table 2, each over the sampling grid."""
    return {row: _icdpm(f"table2/{row}", protocol) for row in "abcdef"}


_GRID = "perception against distortion over the sampling grid"
_SHAKE = "DIV2K under camera shake (app. H)"
FIGURES = (
    _drawn(
        *("icdpm", "fig4", "what the guidance predicts; fig. 9: its features"),
        *("guidance/guidance.png", "papers/icdpm/table4/ours", "papers/icdpm/table5/ours"),
    ),
    _grids("icdpm", "fig5", f"{_GRID}, RealBlur-J", _table_2_models(REALBLUR)),
    _grids("icdpm", "fig10, GoPro", _GRID, _table_2_models()),
    _grids("icdpm", "fig10, HIDE", _GRID, _table_2_models("hide-v1")),
    _grids("icdpm", "fig10, REDS", _GRID, _table_2_models("reds300-v1")),
    _of_row("icdpm", "table 12", _GRID, "grid.png", _icdpm("table12", run_of=_GUIDED)),
    _of_row(
        *("icdpm", "fig11", "adversarial alignment of the guidance features", "sheet.png"),
        _icdpm("adversarial"),
    ),
    _of_row(
        *("dvsr", "fig1 and 7", f"{_GRID} and the number of averaged samples", "grid.png"),
        _dvsr("grid"),
    ),
    _drawn(
        *("dvsr", "fig3", "first prediction, sample and residual; sec. 6.1: its entropy"),
        *("residual/residual.png", "papers/dvsr/figure6/residual", "papers/dvsr/figure6/residual"),
    ),
    _drawn(
        *("dvsr", "fig5", "deviation of each pixel between samples"),
        *("diversity/diversity.png", "papers/dvsr/table1/ours", "papers/dvsr/table1/ours"),
    ),
    _grids(
        *("dvsr", "fig6", "quality against time, with and without a residual"),
        {n: Measurement(f"papers/dvsr/figure6/{n}.gin") for n in ("residual", "non_residual")},
    ),
    _drawn(
        *("dvsr", "fig8", "diversity against sharpness of the input"),
        *("diversity/sharpness.png", "papers/dvsr/table1/ours", "papers/dvsr/table1/ours"),
    ),
    _drawn("dvsr", "fig9", "random kernels of camera shake", "kernels/kernels.png"),
    *(
        _of_row(
            *("dvsr", f"fig19 to 22, {name}", _SHAKE, "sheet.png"),
            Measurement(f"papers/dvsr/appendix_h/{name}.gin"),
        )
        for name in ("ours", "regression")
    ),
)


def _identity(paper: str, key: str) -> str:
    """Id of a table, such as "icdpm/4" for key "table4"."""
    return f"{paper}/{key.removeprefix('table').replace('section', 'sec')}"


def tables(papers: Paper, sizes: Mapping[str, tuple[float, float]]) -> list[Table]:
    """All tables of the papers.

    Args:
      papers: from `paper_tables`.
      sizes: (millions of parameters, GFLOPs) of the architectures by name.
    """
    found = []
    for paper, content in papers.items():
        for key, table in content.items():
            identity = _identity(paper, key)
            rows = tuple(
                Row(row["name"], tuple(_cells(identity, row, table["columns"], sizes)))
                for row in table["rows"]
            )
            found.append(Table(identity, table["caption"], tuple(table["columns"]), rows))
    return found


def _cells(
    table: str, row: Mapping[str, Any], columns: Sequence[str], sizes: Mapping[str, Any]
) -> list[Cell]:
    special = {
        "icdpm/1": _table_1,
        "icdpm/2": _table_2,
        "icdpm/3": _table_3,
        "icdpm/8": _study,
        "dvsr/3": _study,
        "icdpm/9": _table_9,
        "icdpm/11": _table_11,
        "icdpm/12": _table_12,
        "icdpm/13": _table_13,
    }
    if table in special:
        return [special[table](row, column, sizes) for column in columns]
    measurement = ROWS[table].get(row["name"])
    metrics = ALIGNED if table in ("icdpm/5", "deblurdiff/realblur_j") else PLAIN
    return [_measured(table, row, column, measurement, metrics, sizes) for column in columns]


def _measured(
    table: str,
    row: Mapping[str, Any],
    column: str,
    measurement: Measurement | None,
    metrics: Mapping[str, str],
    sizes: Mapping[str, tuple[float, float]],
) -> Cell:
    paper = row.get(column)
    if column in ("params_M", "GFLOPs"):
        return _size(f"UNet ch={row['ch']}", column, paper, sizes)
    if column not in metrics:
        return Cell(column, paper)  # a setting, not a result
    if row["name"] == "Ground Truth":
        made = ROWS[table]["Ours"]
        return (
            Cell(column, paper, made, "niqe", kind="sharp")
            if column == "NIQE"
            else Cell(column, paper)
        )
    if measurement is None:
        return Cell(column, paper, why=OTHERS)
    return Cell(column, paper, measurement, metrics[column])


def _size(name: str, column: str, paper: Any, sizes: Mapping[str, tuple[float, float]]) -> Cell:
    if name not in sizes:
        return Cell(column, paper, why="deblur-summary counts it")
    return Cell(column, paper, ours=sizes[name][column == "GFLOPs"])


def _table_1(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    del sizes
    if column == "scale":
        return Cell(column, row[column])
    made = Measurement("papers/icdpm/table4/ours.gin")
    name = f"spaces.csv:{row['name']}:{row['scale']}:{column}"
    return Cell(column, row[column], made, name)


def _table_2(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    if column == "params_M":
        return _size(row["name"], column, row[column], sizes)
    if "best" not in column:
        return Cell(column, row[column])
    dataset, _, metric = column.split()
    aligned = dataset == "RealBlur-J"
    made = _icdpm(f"table2/{row['row']}", REALBLUR if aligned else "")
    name = (ALIGNED if aligned else PLAIN)[metric]
    return Cell(column, row[column], made, name, "lower" if metric == "LPIPS" else "higher")


def _table_3(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    del sizes
    if row["name"] not in ("Ours", "Ours-SA"):
        return Cell(column, row[column], why=OTHERS)
    stem = "ours_sa" if row["name"] == "Ours-SA" else "ours"
    made = _icdpm(f"table4/{stem}", run_of=_GUIDED)
    return Cell(column, row[column], made, f"mean of 4-7:{column}")


def mean_parts(stem: str) -> list[tuple[Measurement, Mapping[str, str]]]:
    """What Table 3 is the mean of: measurements and the metrics of their columns."""
    return [
        (_icdpm(f"table{n}/{stem}", run_of=_GUIDED), ALIGNED if n == 5 else PLAIN)
        for n in (4, 5, 6, 7)
    ]


def _study(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    del sizes
    if column == row["name"]:
        return Cell(column, None)
    return Cell(column, row[column], why="needs human raters: deblur-study make, serve and score")


def _table_9(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    del sizes
    if column not in ("LPIPS", "PSNR"):
        return Cell(column, row[column])
    return Cell(column, row[column], _icdpm(f"table9/{row['row']}"), ALIGNED[column])


def _table_11(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    del sizes
    stem = "without_input" if row["name"].startswith("w/o") else "with_input"
    dataset, metric = column.split()
    aligned = dataset == "RealBlur-J"
    made = _icdpm(f"table11/{stem}", REALBLUR if aligned else "")
    return Cell(column, row[column], made, (ALIGNED if aligned else PLAIN)[metric])


def _table_12(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    del sizes
    from deblur_tf.evaluation.protocols import icdpm_grid

    count = sum(steps == int(row["name"]) for steps, _ in icdpm_grid())
    return Cell(column, row[column], ours=count)


def _table_13(row: Mapping[str, Any], column: str, sizes: Any) -> Cell:
    if column in ("params_M", "GFLOPs"):
        return _size(row["name"], column, row[column], sizes)
    return Cell(column, row[column])


def figures(chosen: Sequence[Table]) -> list[Figure]:
    """The figures of the papers whose tables are all chosen."""
    ids = {table.id for table in chosen}
    whole = [
        paper
        for paper, content in paper_tables().items()
        if ids >= {_identity(paper, key) for key in content}
    ]
    return [figure for figure in FIGURES if figure.id.split("/")[0] in whole]


def measurements(chosen: Sequence[Table]) -> list[Measurement]:
    """Every measurement that the tables and their papers' figures need, once, in order."""
    found = [made for figure in figures(chosen) for made in figure.measurements]
    for table in chosen:
        for row in table.rows:
            for cell in row.cells:
                if cell.metric.startswith("mean of"):
                    stem = "ours_sa" if row.name == "Ours-SA" else "ours"
                    found += [made for made, _ in mean_parts(stem)]
                elif cell.measurement:
                    found.append(cell.measurement)
    return list(dict.fromkeys(found))
