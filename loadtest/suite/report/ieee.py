"""The skeleton of a paper in IEEE's conference style, filled from a run.

Everything that follows from the data is written; what only an author can say is marked in red with
`Author:`, and `docs/IEEE_REPORT_GUIDE.md` lists it.
"""

from loadtest import quantity
from loadtest.suite.report import exhibits, findings, latex
from loadtest.suite.report.latex import escape
from loadtest.suite.report.plates import CEILINGS, SECONDS, SPEEDUPS, plates
from loadtest.suite.summary import Summary

TEX = "paper.tex"
README = """\
Written by `lumbre report --ieee` from job_results.json; docs/IEEE_REPORT_GUIDE.md explains it.

    pdflatex paper.tex && pdflatex paper.tex

needs IEEEtran.cls: on Debian and Ubuntu,
`apt-get install texlive-publishers texlive-latex-recommended texlive-fonts-recommended`.
Copy paper.tex before you write in it: a new report overwrites it.
"""

PREAMBLE = r"""\documentclass[conference]{IEEEtran}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage{array}
\usepackage{graphicx}
\usepackage{xcolor}
\usepackage{cite}
\usepackage{url}
\renewcommand{\arraystretch}{1.15}
\setlength{\tabcolsep}{4pt}
% Many floats and little text: let them stand where they belong, and not after the references.
\renewcommand{\topfraction}{0.95}
\renewcommand{\bottomfraction}{0.9}
\renewcommand{\textfraction}{0.05}
\renewcommand{\floatpagefraction}{0.8}
\renewcommand{\dbltopfraction}{0.95}
\renewcommand{\dblfloatpagefraction}{0.8}
\setcounter{topnumber}{4}
\setcounter{bottomnumber}{3}
\setcounter{totalnumber}{6}
\setcounter{dbltopnumber}{3}
% What only the author can write; redefine it to nothing to see what is left.
\newcommand{\authorwrites}[1]{\textcolor{red}{[Author: #1]}}
\begin{document}"""


def paper(summary: Summary) -> dict[str, bytes]:
    """The files of the paper by their names: the text, its figures, and how to compile it."""
    figures = plates(summary)
    parts = [
        PREAMBLE,
        _head(summary),
        _abstract(summary),
        _introduction(),
        _method(summary),
        _setup(summary, set(figures)),
        _results(summary, set(figures)),
        _discussion(summary),
        _threats(summary),
        _again(summary),
        _references(summary),
        r"\end{document}",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return {TEX: text.encode(), "README.md": README.encode(), **figures}


def _head(summary: Summary) -> str:
    what = "CPU and GPU Times" if summary.has_gpu else "CPU Times"
    where = " and ".join(dict.fromkeys(device.name for device in summary.results.devices))
    return rf"""\title{{{what} of {_functions(summary)} on {escape(where)}}}
\author{{\IEEEauthorblockN{{\authorwrites{{name}}}}
\IEEEauthorblockA{{\authorwrites{{affiliation, e-mail}}}}}}
\maketitle"""


def _functions(summary: Summary) -> str:
    return quantity.counted(len({case.function for case in summary.cases}), "Function")


def _abstract(summary: Summary) -> str:
    told = [*findings.warnings(summary), f"We measured {findings.opening(summary)}"]
    told += [_quoted(summary), findings.parity(summary), *findings.coldness(summary)]
    words = " ".join(sentence for sentence in told if sentence)
    return rf"""\begin{{abstract}}
\authorwrites{{the question that these measurements answer.}}
{escape(words)}
\authorwrites{{what follows from it.}}
\end{{abstract}}
\begin{{IEEEkeywords}}
benchmarking, GPU computing, serverless computing, speedup, cold start
\end{{IEEEkeywords}}"""


def _quoted(summary: Summary) -> str:
    """Every case's speedup, in one sentence."""
    told = [
        f"{quantity.times(one.speedup.median)} for {case.name}"
        f" ({quantity.times(one.with_transfers.median)} with transfers in and out)"
        for case in summary.cases
        if (one := case.best) and one.speedup and one.with_transfers
    ]
    if not told:
        return ""
    gpu = summary.label("gpu")
    listed = "; ".join(told)
    return f"At the largest sizes whose results agree, the speedups of the {gpu} were {listed}."


def _introduction() -> str:
    return r"""\section{Introduction}
\authorwrites{why the comparison matters to your readers, what is known, with citations, and what
this paper adds.}"""


def _method(summary: Summary) -> str:
    results = summary.results
    confidence = escape(quantity.share(results.confidence))
    precision = escape(quantity.share(results.precision))
    compared = (
        r"""
A \emph{speedup} is the median of CPU seconds over the median of GPU seconds. It is given only
where the results of both agree within the tolerances of Table~\ref{tab:parity}; parameters that
were given to the devices apart, as a number format that only one has, are named with it.
Transfers between host and device are timed apart; speedups \emph{with transfers} add both to the
GPU's seconds. Intervals of speedups are percentile
bootstraps~\cite{efron} with both samples resampled independently. The \emph{crossover} is the size
at which the ratio is 1, interpolated between measured sizes on logarithmic axes."""
        if summary.has_gpu and any(parity.checks for parity in results.parities)
        else ""
    )
    return rf"""\section{{Method}}
Each function ran in warm replicas of Lumbre~\cite{{lumbre}}, forked from a process that had its
libraries loaded. A case is a function with fixed parameters over a ladder of sizes. All warm calls
of all cases, sizes and devices were made in one random order; the first calls of each were
discarded. A call's clock stops when the device has finished. Calls were repeated until the
{confidence} interval of the median was within $\pm${precision} of it, or until the plan's limits.

Times are medians. Their intervals lie between order statistics and assume no
distribution~\cite{{leboudec}}; where there are too few calls for one, none is given.{compared}
Ceilings are medians of large plain operations, measured on the same device in the same run; shares
are of these and not of data sheets."""


def _setup(summary: Summary, figures: set[str]) -> str:
    # What is as wide as the page comes at the top of the next one: so it is given early.
    wide = [exhibits.times(summary) if summary.cases else "", _figure(SECONDS, summary, figures)]
    parts = [
        r"\section{Setup}",
        *wide,
        r"""Table~\ref{tab:setup} lists machine, software and plan. \authorwrites{what a reader must
know beyond it: who else used the machine, power limits, clocks.}""",
        exhibits.setup(summary),
        exhibits.ceilings(summary),
    ]
    return "\n\n".join(part for part in parts if part)


def _results(summary: Summary, figures: set[str]) -> str:
    if not summary.cases:
        return "\\section{Results}\nNothing was measured."
    sections = [
        ("Times", _finding(summary), _figure(SPEEDUPS, summary, figures)),
        (
            "Rates of Work",
            escape(
                "How much of its own ceiling a device reached says how much it could still gain."
            ),
            exhibits.rates(summary) + "\n\n" + _figure(CEILINGS, summary, figures),
        ),
        (
            "Crossovers",
            escape(
                "From which size on the GPU is the faster device, by itself and with transfers."
            ),
            exhibits.crossovers(summary),
        ),
        ("Cold Starts", escape(" ".join(findings.coldness(summary))), exhibits.starts(summary)),
        ("Agreement of Results", escape(findings.parity(summary)), exhibits.parity(summary)),
    ]
    parts = [
        rf"\subsection{{{title}}}" + f"\n{words}\n\n{exhibit.strip()}"
        for title, words, exhibit in sections
        if exhibit.strip() or title == "Times"
    ]
    return "\n\n".join([r"\section{Results}", *parts])


def _finding(summary: Summary) -> str:
    told = [f"{case.name}: {findings.finding(case, summary)}" for case in summary.cases]
    items = "\n".join(rf"\item {escape(line)}" for line in told)
    return f"""\
Table~\\ref{{tab:times}} and Fig.~\\ref{{fig:seconds}} have every time; in short:
\\begin{{itemize}}
{items}
\\end{{itemize}}"""


def _figure(file: str, summary: Summary, figures: set[str]) -> str:
    if file not in figures:
        return ""
    confidence = quantity.share(summary.results.confidence)
    gpu = summary.label("gpu")
    lines = f"CPU solid, {gpu} dashed, with transfers dotted; " if summary.has_gpu else ""
    caption = {
        SECONDS: f"Median seconds over size ({lines}whiskers: {confidence} intervals).",
        SPEEDUPS: f"Speedups of the {gpu} at the largest sizes whose results agree.",
        CEILINGS: "Rates of work as shares of measured ceilings, at the largest sizes.",
    }[file]
    label = f"fig:{file.removesuffix('.pdf')}"
    return latex.figure(label, caption, file, wide=file == SECONDS)


def _discussion(summary: Summary) -> str:
    if not summary.has_gpu:
        return r"""\section{Discussion}
\authorwrites{what the rates say, held against the ceilings: what limits each function.}"""
    return r"""\section{Discussion}
\authorwrites{why the devices differ as they do: hold the rates against the ceilings, and the
speedups with transfers against those without.}

\authorwrites{when a GPU pays: take crossovers and cold starts together with how often your
functions are called.}"""


def _threats(summary: Summary) -> str:
    results = summary.results
    known = [
        *findings.warnings(summary),
        *results.notes,
        *findings.missing(summary),
        *findings.failures(summary),
        "All calls are of one run on one machine: intervals tell how calls of this run vary, and"
        " not how runs or machines do.",
    ]
    if summary.has_gpu:
        known.append(
            "A speedup compares these two devices with the software named, and not CPUs with GPUs."
        )
    items = "\n".join(rf"\item {escape(line)}" for line in known)
    return rf"""\section{{Threats to Validity}}
\begin{{itemize}}
{items}
\end{{itemize}}
\authorwrites{{what else may be wrong: are these functions and sizes those of your users?}}"""


def _again(summary: Summary) -> str:
    results = summary.results
    quick = " --quick" if results.quick else ""
    command = escape(f"lumbre bench --plan {results.plan} --seed {results.seed}{quick} --ieee")
    return rf"""\section{{Reproducibility}}
The run began at {escape(results.began_at)} and took {escape(quantity.duration(results.seconds))},
at revision {escape(_revision(summary))}. Every call is in \texttt{{job\_results.json}}, from which
all tables and figures here were made. The same plan runs again by \texttt{{{command}}};
\texttt{{lumbre report compare}} tells what differs between two runs beyond noise.
\authorwrites{{where the JSON is archived: a DOI.}}"""


def _revision(summary: Summary) -> str:
    return dict(summary.results.machine).get("revision", "unknown")


def _references(summary: Summary) -> str:
    bootstrap = r"""
\bibitem{efron} B. Efron and R. J. Tibshirani, \emph{An Introduction to the Bootstrap}. New York,
NY, USA: Chapman \& Hall, 1993."""
    compared = summary.has_gpu and any(parity.checks for parity in summary.results.parities)
    return rf"""\begin{{thebibliography}}{{9}}
\bibitem{{lumbre}} \emph{{Lumbre}}, revision {escape(_revision(summary))}. \authorwrites{{URL of the
repository, year.}}
\bibitem{{leboudec}} J.-Y. Le Boudec, \emph{{Performance Evaluation of Computer and Communication
Systems}}. Lausanne, Switzerland: EPFL Press, 2010.{bootstrap if compared else ""}
\end{{thebibliography}}"""
