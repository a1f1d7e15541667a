// What the page does beyond being read: tables sort, figures are drawn and can be hovered over, colours can be chosen.
// It loads nothing. Without it the text, the tables and each figure's values are still there.
"use strict";
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const say = (word, ...values) => values.reduce((text, value) => text.replace("{}", value), words[word]);
  const heard = document.body.appendChild(make("div", { class: "heard", "aria-live": "polite" }));

  function make(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function number(value, digits = 4) {
    return new Intl.NumberFormat("en", { maximumSignificantDigits: Math.abs(value) < 1e15 ? digits : 3,
      notation: Math.abs(value) < 1e15 ? "standard" : "scientific" }).format(value);
  }

  // ---------------------------------------------------------------- colours

  const theme = document.querySelector(".theme");
  theme.hidden = false;
  theme.querySelector("select").addEventListener("change", (event) => {
    document.documentElement.dataset.theme = event.target.value;
  });
  if (matchMedia("(max-width: 74rem)").matches) document.querySelector("nav details").open = false;

  // ----------------------------------------------------------------- tables

  const naturally = new Intl.Collator("en", { numeric: true }).compare;

  function key(cell) {
    const text = cell.textContent.trim();
    const value = Number.parseFloat(text.replaceAll(",", "").replace("−", "-").replace("<", ""));
    return { text, value, missing: text === "–" || text === "" || (cell.classList.contains("n") && Number.isNaN(value)) };
  }

  // What is missing stands last, whichever way the rest is sorted
  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const figures = table.tHead.rows[0].cells[column].classList.contains("n");
    const rows = [...body.rows].map((row, index) => ({ row, index, ...key(row.cells[column]) }));
    rows.sort((a, b) => {
      if (a.missing !== b.missing) return a.missing - b.missing;
      const order = figures ? a.value - b.value : naturally(a.text, b.text);
      return (descending ? -order : order) || a.index - b.index;
    });
    body.append(...rows.map((each) => each.row));
  }

  for (const table of document.querySelectorAll("table.sorts")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", title: words.sort }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  }

  // ---------------------------------------------------------------- figures

  const INK = "currentColor", GRID = "var(--grid)", DIM = 0.12;
  const paint = (colour) => `light-dark(${colour[0]}, ${colour[1]})`;
  const [VALUE, LOW, HIGH, PLACE] = [0, 1, 2, 3];
  const HEIGHT = 280, ROW = 24;

  const steps = (size) => Array.from({ length: Math.round(9 / size) }, (_, index) => 1 + index * size);

  // Round values for a logarithmic axis: 1-2-5 steps, finer where the range is narrow
  function roundValues([low, high]) {
    for (const mantissas of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8], [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9],
      steps(0.5), steps(0.25), steps(0.1)]) {
      const found = [];
      for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
        found.push(...mantissas.map((m) => m * 10 ** decade).filter((value) => low <= value && value <= high));
      }
      if (found.length >= 4) return found.map((value) => Number(value.toPrecision(3)));
    }
    return [0, 1, 2, 3].map((step) => Number((low * (high / low) ** (step / 3)).toPrecision(3)));
  }

  // A range with a margin on either side, so that nothing lies on the frame
  function widened([low, high], logarithmic, share, alone = 1e-3 * Math.abs(high) + 1e-9) {
    if (logarithmic) {
      const margin = Math.exp(Math.max(share * Math.log(high / low), 0.02));
      return [low / margin, high * margin];
    }
    const margin = low < high ? share * (high - low) : alone;
    return [low - margin, high + margin];
  }

  function axis(scale, orient, title, logarithmic, domain, more = {}) {
    return { scale, orient, title, grid: true, gridColor: GRID, domainColor: INK, tickColor: INK, labelColor: INK,
      titleColor: INK, titleFontWeight: "normal", titleFontSize: 12, labelFontSize: 11, labelOverlap: true,
      tickSize: 4, format: ",.6~g", tickCount: 5, ...(logarithmic ? { values: roundValues(domain) } : {}), ...more };
  }

  class Plot {
    // One panel of a figure
    constructor(figure, panel, index) {
      Object.assign(this, { figure, panel, index, view: null, spots: [], at: -1 });
      const name = [figure.name, panel.title].filter(Boolean).join(", ");
      this.canvas = make("div", { class: "canvas", "aria-hidden": "true" });
      this.tip = make("div", { class: "tip", hidden: "" });
      this.dot = make("div", { class: "dot", hidden: "" });
      this.box = make("div", { class: "plot", tabindex: "0", role: "application", "aria-label": say("keys", name) },
        this.canvas, this.dot, this.tip);
      this.canvas.style.minHeight = `${this.height() + 40}px`;
      this.box.addEventListener("pointermove", (event) => this.point(event));
      this.box.addEventListener("pointerdown", (event) => this.point(event));
      this.box.addEventListener("pointerleave", () => this.show(-1));
      this.box.addEventListener("blur", () => this.show(-1));
      this.box.addEventListener("keydown", (event) => this.press(event));
      this.legend = make("ul", { class: "legend" }, ...this.entries());
      this.root = make("div", {}, ...(panel.title ? [make("h4", {}, panel.title)] : []), this.box, this.legend);
    }

    get rows() { return this.figure.chart.kind === "rows"; }

    get bars() { return this.figure.chart.kind === "bars"; }

    height() { return this.bars || this.rows ? ROW * this.figure.chart.rows.length : HEIGHT; }

    seen(series) { return [null, `${this.index}/${series}`].includes(this.figure.isolated); }

    // Panels beside each other share the first one's title of the vertical axis
    headsRow() { return this.root.offsetLeft === this.figure.plots[0].root.offsetLeft; }

    // ------------------------------------------------------------ legend

    entries() {
      this.buttons = this.panel.series.map((series, number) => {
        const button = make("button", { type: "button", "aria-pressed": "false" }, swatch(series, this.figure.chart.kind), series.label);
        button.addEventListener("click", () => this.figure.isolate(`${this.index}/${number}`));
        return button;
      });
      const rest = [];
      for (const [label] of this.panel.levels) if (label) rest.push(["line", label]);
      if (this.panel.rings.length || this.panel.series.some((series) => series.special)) rest.push(["ring", this.figure.chart.special]);
      if (this.panel.crosses.length) rest.push(["cross", this.figure.chart.crossed]);
      return [...this.buttons.map((button) => make("li", {}, button)),
        ...rest.map(([kind, label]) => make("li", {}, make("span", {}, mark(kind), label)))];
    }

    mark() {
      this.legend.classList.toggle("dimmed", this.figure.isolated !== null);
      this.buttons.forEach((button, number) => {
        button.setAttribute("aria-pressed", String(this.figure.isolated === `${this.index}/${number}`));
      });
    }

    // ----------------------------------------------------------- drawing

    draw() {
      this.show(-1);
      const width = this.box.clientWidth;
      if (!width) return;
      if (this.view) this.view.finalize();
      const spec = this.bars ? this.drawnBars(width) : this.rows ? this.drawnRows(width) : this.drawnValues();
      this.view = new vega.View(vega.parse({
        $schema: "https://vega.github.io/schema/vega/v6.json", width, height: this.height(), padding: 4,
        autosize: { type: "fit-x", contains: "padding" }, config: { aria: false, axis: { labelFont: "sans-serif", titleFont: "sans-serif" } },
        ...spec,
      }), { renderer: "svg", container: this.canvas, hover: false });
      this.view.run();
      this.width = width;
      this.spots = this.measured();
    }

    scales() {
      const { chart, logarithmic, stretched, axisIndex } = this.figure;
      const places = this.figure.chart.panels.flatMap((panel) => [...panel.crosses, ...panel.series.flatMap((s) => s.points.map((p) => p[PLACE + axisIndex]))]);
      const reach = [Math.min(...places), Math.max(...places)];
      const x = widened(reach, stretched, { points: 0.08, lines: chart.interval ? 0.08 : 0.02 }[chart.kind], 0.5);
      const y = widened(chart.domain, logarithmic, chart.kind === "points" ? 0.1 : 0.05);
      return { x: chart.kind === "points" && !stretched ? [Math.max(0, x[0]), x[1]] : x, y };
    }

    drawnValues() {
      const { chart, logarithmic, stretched, axisIndex } = this.figure;
      const domain = this.scales();
      const counted = chart.whole && axisIndex === 0;
      const at = { x: { scale: "x", field: "x" }, y: { scale: "y", field: "y" } };
      const data = [], marks = [];
      for (const [from, to] of this.panel.shaded) {
        marks.push({ type: "rect", clip: true, encode: { enter: { x: { scale: "x", value: from }, x2: { scale: "x", value: to },
          y: { value: 0 }, y2: { signal: "height" }, fill: { value: "var(--grid)" } } } });
      }
      for (const place of this.panel.crosses) {
        marks.push({ type: "symbol", encode: { enter: { x: { scale: "x", value: place }, y: { value: 6 }, angle: { value: 45 },
          shape: { value: "cross" }, size: { value: 70 }, fill: { value: INK } } } });
      }
      for (const [, value] of this.panel.levels) {
        marks.push({ type: "rule", encode: { enter: { x: { value: 0 }, x2: { signal: "width" }, y: { scale: "y", value },
          stroke: { value: "var(--quiet)" }, strokeDash: { value: [2, 3] }, strokeWidth: { value: 1.4 } } } });
      }
      // what is isolated is drawn last, above the rest
      const order = this.panel.series.map((_, number) => number).sort((a, b) => this.seen(a) - this.seen(b));
      for (const number of order) {
        const series = this.panel.series[number], colour = { value: paint(series.colour) };
        const opacity = { value: this.seen(number) ? 1 : DIM }, name = `s${number}`;
        data.push({ name, values: series.points.map((p) => ({ x: p[PLACE + axisIndex], y: p[VALUE], low: p[LOW], high: p[HIGH], name: p.at(-1) })) });
        if (chart.kind === "lines") {
          if (chart.interval) {
            marks.push({ type: "rule", clip: true, from: { data: name }, encode: { enter: { x: at.x, y: { scale: "y", field: "low" },
              y2: { scale: "y", field: "high" }, stroke: colour, opacity, strokeWidth: { value: 1.5 } } } });
          } else if (series.points.some((p) => p[LOW] < p[HIGH])) {
            marks.push({ type: "area", clip: true, from: { data: name }, encode: { enter: { x: at.x, y: { scale: "y", field: "low" },
              y2: { scale: "y", field: "high" }, fill: colour, fillOpacity: { value: this.seen(number) ? 0.18 : 0.04 } } } });
          }
          marks.push({ type: "line", clip: true, from: { data: name }, encode: { enter: { ...at, stroke: colour, opacity,
            strokeWidth: { value: series.width * 1.3 }, strokeDash: { value: series.dash.map((part) => part * 1.3) }, strokeJoin: { value: "round" } } } });
        }
        if (series.faint.length) {
          data.push({ name: `${name}_faint`, values: series.faint.map((p) => ({ x: p[PLACE], y: p[VALUE] })) });
          marks.push({ type: "symbol", clip: true, from: { data: `${name}_faint` }, encode: { enter: { ...at, size: { value: 14 },
            fill: colour, opacity: { value: this.seen(number) ? 0.5 : DIM } } } });
        }
        if (series.special) {
          marks.push({ type: "symbol", from: { data: name }, encode: { enter: { ...at, size: { value: 300 }, opacity,
            stroke: { value: "var(--quiet)" }, strokeWidth: { value: 1.2 } } } });
        }
        if (series.shape) {
          const size = chart.kind === "points" ? 90 : 30;
          marks.push({ type: "symbol", name: `${name}_marks`, clip: chart.kind === "lines", from: { data: name }, encode: { enter: { ...at, opacity,
            shape: { value: series.shape }, size: { value: size }, fill: series.filled ? colour : { value: "var(--page)" },
            stroke: chart.kind === "points" ? { value: "var(--page)" } : colour, strokeWidth: { value: chart.kind === "points" ? 0.8 : 1.3 } } } });
        }
      }
      if (chart.kind === "points") {
        data.push({ name: "names", values: this.panel.series.flatMap((s, number) => s.points.map((p) => (
          { x: p[PLACE], y: p[VALUE], name: p.at(-1), size: s.special ? 300 : 90, opacity: this.seen(number) ? 1 : DIM }))) });
        // hardly seen, but seen: what is drawn is what names keep clear of
        marks.push({ type: "symbol", name: "anchors", from: { data: "names" }, encode: { enter: { ...at, size: { field: "size" }, fill: { value: "#808080" }, fillOpacity: { value: 0.01 } } } });
        marks.push({ type: "text", from: { data: "anchors" }, interactive: false,
          encode: { enter: { text: { field: "datum.name" }, font: { value: "sans-serif" }, fontSize: { value: 11 }, fill: { value: INK }, fillOpacity: { field: "datum.opacity" } } },
          transform: [{ type: "label", size: { signal: "[width + 40, height]" }, offset: [2, 8, 16], anchor: ["right", "top-right", "bottom-right", "left", "top", "bottom", "top-left", "bottom-left"] }] });
      }
      for (const p of this.panel.rings) {
        marks.push({ type: "symbol", encode: { enter: { x: { scale: "x", value: p[PLACE + axisIndex] }, y: { scale: "y", value: p[VALUE] },
          size: { value: 55 }, fill: { value: "var(--page)" }, stroke: { value: INK }, strokeWidth: { value: 1.5 } } } });
      }
      return {
        data, marks,
        scales: [
          { name: "x", type: stretched ? "log" : "linear", domain: domain.x, range: "width", zero: false, nice: false },
          { name: "y", type: logarithmic ? "log" : "linear", domain: domain.y, range: "height", zero: false, nice: false },
        ],
        axes: [
          axis("x", "bottom", chart.axes[axisIndex], stretched, domain.x, counted ? { tickMinStep: 1, tickCount: 8 } : {}),
          axis("y", "left", this.headsRow() ? chart.value : null, logarithmic, domain.y),
        ],
      };
    }

    drawnRows(width) {
      const { chart, logarithmic } = this.figure, narrow = width < 480;
      const points = [], faint = [];
      this.panel.series.forEach((series, number) => {
        const look = { colour: paint(series.colour), fill: series.filled ? paint(series.colour) : "var(--page)", shape: series.shape };
        const opacity = this.seen(number) ? 1 : DIM;
        points.push(...series.points.map((p) => ({ row: p[PLACE], x: p[VALUE], low: p[LOW], high: p[HIGH], opacity, ...look })));
        faint.push(...series.faint.map((p) => ({ row: p[PLACE], x: p[VALUE], opacity: opacity / 2, ...look })));
      });
      const domain = widened(chart.domain, logarithmic, 0.04), place = { scale: "y", field: "row", band: 0.5 };
      const at = { x: { scale: "x", field: "x" }, y: place, opacity: { field: "opacity" } };
      return {
        data: [{ name: "points", values: points }, { name: "faint", values: faint }],
        signals: [{ name: "names", value: chart.rows }],
        scales: [
          { name: "x", type: logarithmic ? "log" : "linear", domain, range: "width", zero: false, nice: false },
          { name: "y", type: "band", domain: chart.rows.map((_, row) => row), range: "height" },
        ],
        axes: [
          // beside long names a narrow plot is narrower than its title, which ends where the plot does
          axis("x", "bottom", chart.value, logarithmic, domain, narrow ? { titleAnchor: "end" } : {}),
          axis("y", "left", null, false, null, { grid: false, ticks: false, labelLimit: narrow ? 130 : 320, labelOverlap: false, format: "d",
            encode: { labels: { update: { text: { signal: "names[datum.value]" } } } } }),
        ],
        marks: [
          ...this.panel.levels.map(([, value]) => ({ type: "rule", encode: { enter: { x: { scale: "x", value }, y: { value: 0 },
            y2: { signal: "height" }, stroke: { value: "var(--quiet)" } } } })),
          { type: "symbol", from: { data: "faint" }, encode: { enter: { ...at, size: { value: 16 }, fill: { field: "colour" } } } },
          { type: "rule", from: { data: "points" }, encode: { enter: { x: { scale: "x", field: "low" }, x2: { scale: "x", field: "high" },
            y: place, stroke: { field: "colour" }, strokeWidth: { value: 1.6 }, opacity: at.opacity } } },
          { type: "symbol", from: { data: "points" }, encode: { enter: { ...at, shape: { field: "shape" }, size: { value: 55 },
            fill: { field: "fill" }, stroke: { field: "colour" }, strokeWidth: { value: 1.4 } } } },
        ],
      };
    }

    drawnBars(width) {
      const { chart } = this.figure;
      const narrow = width < 480;
      const reached = chart.rows.map(() => 0), segments = [], strokes = [];
      this.panel.series.forEach((series, number) => {
        const look = { colour: paint(series.colour), opacity: this.seen(number) ? 1 : DIM };
        for (const p of series.points) {
          if (series.shape) strokes.push({ row: p[PLACE], x: p[VALUE], ...look });
          else segments.push({ row: p[PLACE], from: reached[p[PLACE]], to: (reached[p[PLACE]] += p[VALUE]), ...look });
        }
      });
      const names = chart.rows.map((name) => (narrow ? name.split(":")[0] : name));
      const place = { scale: "y", field: "row" };
      return {
        data: [{ name: "segments", values: segments }, { name: "strokes", values: strokes }],
        signals: [{ name: "names", value: names }],
        scales: [
          { name: "x", type: "linear", domain: [0, chart.domain[1] * 1.03], range: "width", nice: false },
          { name: "y", type: "band", domain: chart.rows.map((_, row) => row), range: "height", padding: 0.25 },
        ],
        axes: [
          axis("x", "bottom", chart.value, false, null),
          axis("y", "left", null, false, null, { grid: false, ticks: false, labelLimit: 260, labelOverlap: false, format: "d",
            encode: { labels: { update: { text: { signal: "names[datum.value]" } } } } }),
        ],
        marks: [
          { type: "rect", from: { data: "segments" }, encode: { enter: { y: place, height: { scale: "y", band: 1 }, x: { scale: "x", field: "from" },
            x2: { scale: "x", field: "to" }, fill: { field: "colour" }, fillOpacity: { field: "opacity" } } } },
          { type: "rect", from: { data: "strokes" }, encode: { enter: { y: { ...place, offset: -2 }, height: { scale: "y", band: 1, offset: 4 },
            xc: { scale: "x", field: "x" }, width: { value: 3 }, fill: { field: "colour" }, fillOpacity: { field: "opacity" } } } },
        ],
      };
    }

    // ----------------------------------------------------------- reading

    // Where each point that can be read lies, in pixels of the box: left, right, top, bottom
    measured() {
      const { chart, axisIndex } = this.figure, padding = this.view.padding();
      const [left, top] = [this.view.origin()[0] + padding.left, this.view.origin()[1] + padding.top];
      const x = this.view.scale("x"), y = this.view.scale("y");
      const reached = chart.rows.map(() => 0), found = [];
      this.panel.series.forEach((series, number) => {
        for (const p of series.points) {
          let box;
          if (this.bars) {
            const from = series.shape ? p[VALUE] : reached[p[PLACE]];
            const to = series.shape ? p[VALUE] : (reached[p[PLACE]] += p[VALUE]);
            box = [x(from), x(to), y(p[PLACE]), y(p[PLACE]) + y.bandwidth()];
          } else if (this.rows) {
            const middle = y(p[PLACE]) + y.bandwidth() / 2;
            box = [x(p[VALUE]), x(p[VALUE]), middle, middle];
          } else {
            box = [x(p[PLACE + axisIndex]), x(p[PLACE + axisIndex]), y(p[VALUE]), y(p[VALUE])];
          }
          const inside = box[3] >= -1 && box[2] <= this.height() + 1;
          if (inside && this.seen(number)) {
            found.push({ series: number, point: p, box: [left + box[0], left + box[1], top + box[2], top + box[3]] });
          }
        }
      });
      return found;
    }

    point(event) {
      const corner = this.box.getBoundingClientRect();
      const x = event.clientX - corner.left, y = event.clientY - corner.top;
      let nearest = -1, least = 45;
      this.spots.forEach(({ box, series }, index) => {
        const away = Math.hypot(Math.max(box[0] - x, 0, x - box[1]), Math.max(box[2] - y, 0, y - box[3]));
        // a stroke over a bar is thin: it is taken from a little further
        const distance = this.bars && this.panel.series[series].shape ? away - 4 : away;
        if (distance < least) [nearest, least] = [index, distance];
      });
      this.show(nearest);
    }

    press(event) {
      const { at, spots } = this, last = spots.length - 1;
      const next = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
      if (event.key === "Escape") this.show(-1);
      else if (next !== undefined) this.show(next, true);
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") this.show(this.beside(event.key === "ArrowDown" ? 1 : -1), true);
      else return;
      event.preventDefault();
    }

    // The nearest point of the series before or after this one's
    beside(step) {
      if (this.at < 0 || !this.spots.length) return 0;
      const series = [...new Set(this.spots.map((spot) => spot.series))];
      const next = series.at((series.indexOf(this.spots[this.at].series) + step) % series.length);
      const away = (spot) => this.bars ? Math.abs(spot.box[2] - this.spots[this.at].box[2]) : Math.abs(spot.box[0] - this.spots[this.at].box[0]);
      const own = this.spots.filter((spot) => spot.series === next);
      return this.spots.indexOf(own.reduce((best, spot) => (away(spot) < away(best) ? spot : best)));
    }

    lines({ series, point: p }) {
      const { chart } = this.figure, spread = p[LOW] < p[HIGH] ? [say(chart.interval ? "interval" : "range", number(p[LOW]), number(p[HIGH]))] : [];
      if (this.bars) return [chart.rows[p[PLACE]], `${this.panel.series[series].label}: ${number(p[VALUE])} ${chart.value}`];
      const places = chart.axes.map((name, index) => `${name}: ${number(p[PLACE + index])}`);
      if (this.rows) return [chart.rows[p[PLACE]], `${chart.value}: ${number(p[VALUE])}`, ...spread];
      const loss = chart.logarithmic === null ? [] : [say("loss", number(Math.log(p[VALUE])))];
      return [this.panel.series[series].label, `${chart.value}: ${number(p[VALUE])}`, ...spread, ...loss, ...places];
    }

    show(at, aloud = false) {
      this.at = this.spots[at] ? at : -1;
      this.tip.hidden = this.dot.hidden = this.at < 0;
      if (this.at < 0) return;
      const spot = this.spots[at], [first, ...rest] = this.lines(spot);
      this.tip.replaceChildren(make("b", {}, first), ...rest.map((line) => make("i", {}, line)));
      const x = (spot.box[0] + spot.box[1]) / 2, y = (spot.box[2] + spot.box[3]) / 2;
      this.dot.style.left = `${x}px`;
      this.dot.style.top = `${y}px`;
      const room = this.box.clientWidth, { offsetWidth: width, offsetHeight: height } = this.tip;
      this.tip.style.left = `${Math.max(0, Math.min(x + 14 + width > room ? x - 14 - width : x + 14, room - width))}px`;
      this.tip.style.top = `${Math.max(0, y - height - 8)}px`;
      if (aloud) heard.textContent = [first, ...rest].join(", ");
    }
  }

  const SVG = "http://www.w3.org/2000/svg";

  function drawing(width, ...shapes) {
    const svg = document.createElementNS(SVG, "svg");
    for (const [key, value] of Object.entries({ width, height: 12, viewBox: `0 0 ${width} 12`, "aria-hidden": "true" })) svg.setAttribute(key, value);
    for (const [name, attributes] of shapes) {
      const shape = svg.appendChild(document.createElementNS(SVG, name));
      for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    }
    return svg;
  }

  const OUTLINES = { square: "M-3.5,-3.5h7v7h-7z", diamond: "M0,-4.5L4.5,0L0,4.5L-4.5,0z", "triangle-up": "M0,-4L4,4H-4z",
    "triangle-down": "M0,4L4,-4H-4z", "triangle-left": "M-4,0L4,-4V4z", "triangle-right": "M4,0L-4,-4V4z",
    cross: "M-4,-1.3h2.7v-2.7h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7z" };

  function swatch(series, kind) {
    const colour = paint(series.colour);
    if (kind === "bars") return drawing(12, ["rect", series.shape ? { x: 4.5, width: 3, height: 12, fill: colour } : { y: 1, width: 10, height: 10, fill: colour }]);
    const width = kind === "lines" ? 26 : 12, shapes = [];
    if (kind === "lines") {
      shapes.push(["line", { x1: 1, x2: 25, y1: 6, y2: 6, stroke: colour, "stroke-width": series.width * 1.3, "stroke-dasharray": series.dash.map((part) => part * 1.3).join(" ") }]);
    }
    if (series.shape) {
      const look = { fill: series.filled ? colour : "var(--page)", stroke: colour, transform: `translate(${width / 2},6)` };
      shapes.push(series.shape === "circle" ? ["circle", { r: 3.6, ...look }] : ["path", { d: OUTLINES[series.shape], ...look }]);
    }
    return drawing(width, ...shapes);
  }

  function mark(kind) {
    if (kind === "cross") return drawing(12, ["path", { d: "M2,2L10,10M10,2L2,10", stroke: "currentColor", "stroke-width": 2 }]);
    return kind === "line"
      ? drawing(26, ["line", { x1: 1, x2: 25, y1: 6, y2: 6, stroke: "var(--quiet)", "stroke-width": 1.4, "stroke-dasharray": "2 3" }])
      : drawing(14, ["circle", { cx: 7, cy: 6, r: 5, fill: "none", stroke: "var(--quiet)", "stroke-width": 1.2 }]);
  }

  class Figure {
    constructor(root) {
      this.root = root;
      this.chart = JSON.parse(root.querySelector("script").textContent);
      this.name = root.querySelector("figcaption b").textContent.replace(/\.$/, "");
      this.isolated = null;
      this.logarithmic = this.chart.logarithmic;
      this.stretched = this.chart.stretched;
      this.axisIndex = 0;
      this.drawn = false;
      this.plots = this.chart.panels.map((panel, index) => new Plot(this, panel, index));
      root.prepend(this.controls(), make("div", { class: "panels" }, ...this.plots.map((plot) => plot.root)));
    }

    controls() {
      const groups = make("div", { class: "controls" });
      const scale = [[words.logarithmic, true], [words.linear, false]];
      if (this.chart.logarithmic !== null) groups.append(this.choice(this.chart.value, scale, "logarithmic"));
      if (this.chart.stretched !== null) groups.append(this.choice(this.chart.axes[0], scale, "stretched"));
      if (this.chart.axes.length > 1) groups.append(this.choice(words.axis, this.chart.axes.map((name, index) => [name, index]), "axisIndex"));
      this.all = make("button", { type: "button", hidden: "" }, words.all);
      this.all.addEventListener("click", () => this.isolate(this.isolated));
      groups.append(make("div", {}, this.all));
      return groups;
    }

    choice(title, options, name) {
      const buttons = options.map(([label, value]) => {
        const button = make("button", { type: "button", "aria-pressed": String(this[name] === value) }, label);
        button.addEventListener("click", () => {
          this[name] = value;
          buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
          this.draw();
        });
        return button;
      });
      return make("div", { role: "group", "aria-label": `${this.name}, ${title}` }, `${title}:`, ...buttons);
    }

    // A click on what is isolated already shows all again
    isolate(key) {
      this.isolated = this.isolated === key ? null : key;
      this.all.hidden = this.isolated === null;
      this.plots.forEach((plot) => plot.mark());
      this.draw();
    }

    draw() {
      this.drawn = true;
      this.plots.forEach((plot) => plot.draw());
    }
  }

  // A figure is drawn when it is nearly in sight; all are before the page is printed
  const figures = new Map([...document.querySelectorAll("figure.chart")].map((root) => [root, new Figure(root)]));
  const inSight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const figure = figures.get(target);
      if (isIntersecting && !figure.drawn) figure.draw();
    }
  }, { rootMargin: "800px" });
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const figure = figures.get(target);
      if (figure.drawn && figure.plots.some((plot) => plot.box.clientWidth !== plot.width)) figure.draw();
    }
  });
  for (const root of figures.keys()) {
    inSight.observe(root);
    resized.observe(root);
  }
  addEventListener("beforeprint", () => {
    for (const figure of figures.values()) if (!figure.drawn) figure.draw();
  });
})();
