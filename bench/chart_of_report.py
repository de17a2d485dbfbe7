#!/usr/bin/env python3
"""One chart of a run's report as a file that a Markdown page can show.

    python3 bench/chart_of_report.py RUN/report.html "held-out bits per byte by step" > chart.svg
"""
import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()
charts = {re.search(r'aria-label="([^"]*)"', svg)[1]: svg for svg in re.findall(r"<svg.*?</svg>", page, re.S)}
if len(sys.argv) < 3 or sys.argv[2] not in charts:
    sys.exit("charts of this report:\n  " + "\n  ".join(charts))
style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
colours = re.search(r":root \{.*?\n\}", style, re.S)[0]
rules = "\n".join(line for line in style.splitlines() if line.startswith("svg "))
font = "svg { font-family: system-ui, sans-serif; background: var(--paper); }"
svg = charts[sys.argv[2]].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
print(re.sub(r"(<svg [^>]*>)", lambda m: f"{m[1]}<style>{colours}\n{font}\n{rules}</style>", svg, count=1))
