"""The look of the report: the only style sheet, inside the page. Light and dark, from a phone's width up, printable."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #22201d; --soft: #6f6963; --rule: #e5e0d9;
  --accent: #b4512a; --second: #2f6f8f; --third: #8a8178; --good: #3f7d4e; --warn: #a8681a; --bad: #a83232;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171614; --card: #201e1c; --ink: #ece7e0; --soft: #a39b92; --rule: #37332f;
    --accent: #e8875c; --second: #79b8d6; --third: #9a9188; --good: #83c293; --warn: #dfa65a; --bad: #ea8484;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 0 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 66rem; margin: 0 auto; }
header { padding: 3.5rem 0 1rem; max-width: 46rem; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.6rem); line-height: 1.16; letter-spacing: -.02em; margin: .5rem 0 1rem; }
h1, h2 { font-weight: 650; text-wrap: balance; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 3.6rem 0 1rem; }
h3 { font-size: 1rem; font-weight: 600; margin: 0; }
p { margin: 0 0 .7rem; }
.soft, figcaption, .detail { color: var(--soft); }
.detail { font-size: .875rem; margin: .1rem 0 .6rem; }
.state {
  display: inline-block; font-size: .8rem; font-weight: 600; padding: .1rem .7rem; border-radius: 1rem;
  border: 1.5px solid currentColor;
}
.good-state { color: var(--good); } .warn-state { color: var(--warn); } .bad-state { color: var(--bad); }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin: 1.4rem 0 0; }
.figures div { display: flex; flex-direction: column-reverse; }
.figures dd { margin: 0; font-size: 1.9rem; font-weight: 600; letter-spacing: -.02em; line-height: 1.2; }
.figures dt { color: var(--soft); font-size: .875rem; }
figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; }
.tiny img, img.tiny { image-rendering: pixelated; }
.taught { display: flex; gap: .5rem; overflow-x: auto; padding-bottom: .4rem; }
.taught img { height: 88px; width: auto; max-width: none; border-radius: 6px; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14.5rem), 1fr)); gap: 1.6rem; }
.pairs > div { align-self: end; max-width: 26rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; }
.pair img { width: 100%; border-radius: 6px; }
.pair figcaption { font-size: .8rem; padding-top: .25rem; }
.pairs p { font-size: .9rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
.pair figure:last-child figcaption { color: var(--accent); font-weight: 600; }
ul.reasons { margin: 0; padding-left: 1.1rem; max-width: 46rem; }
ul.reasons li { margin-bottom: .5rem; }
.advice { border-left: 3px solid var(--accent); padding-left: 1.1rem; margin-bottom: 1.4rem; max-width: 46rem; }
pre {
  background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .7rem 1rem; margin: .4rem 0;
  overflow-x: auto; font: .875rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
.wide { overflow-x: auto; border: 1px solid var(--rule); border-radius: 8px; background: var(--card); }
.grid img { width: 100%; min-width: 46rem; border-radius: 8px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.6rem 2rem; }
svg { width: 100%; height: auto; overflow: visible; }
svg text { font: 11.5px system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .rule { stroke: var(--rule); }
svg .chosen { stroke: var(--accent); stroke-dasharray: 3 4; stroke-width: 1.5; }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .first polyline { stroke: var(--accent); } svg .first circle { fill: var(--accent); }
svg .second polyline { stroke: var(--second); } svg .second circle { fill: var(--second); }
svg .third polyline { stroke: var(--third); stroke-dasharray: 5 4; } svg .third circle { fill: var(--third); }
svg .name { font-weight: 600; font-size: 12px; }
svg .name.first { fill: var(--accent); } svg .name.second { fill: var(--second); }
svg .name.third { fill: var(--third); }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--rule); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; vertical-align: bottom; }
th:first-child { text-align: left; font-weight: 500; }
tr.chosen { color: var(--accent); font-weight: 600; }
tr.chosen th { font-weight: 600; }
dl.settings { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.4rem; font-size: .9rem; margin: 0; }
dl.settings dt { color: var(--soft); } dl.settings dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: 1.2rem; max-width: 46rem; }
summary { cursor: pointer; color: var(--soft); }
@media (max-width: 30rem) { header { padding-top: 2rem; } h2 { margin-top: 2.6rem; } }
@media print { body { padding: 0; } .wide { overflow: visible; } .grid img { min-width: 0; } }
"""
