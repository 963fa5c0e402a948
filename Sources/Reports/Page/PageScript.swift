/// The JavaScript of the HTML report: redraws charts at the width of the screen, with zoom and values under the pointer.
///
/// Without it the page shows the same charts as Charts has drawn them. It loads nothing.
enum PageScript {
  /// The program; it reads the element `data`.
  static let javaScript = #"""
    "use strict";
    (() => {
      const data = JSON.parse(document.getElementById("data").textContent);
      const names = { step: "steps", epoch: "epochs", time: "training time (s)" };
      const hidden = new Set();
      let mode = "step", shared = null;

      const node = (parent, name, attributes, text) => {
        const element = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const key in attributes) element.setAttribute(key, attributes[key]);
        if (text !== undefined) element.textContent = text;
        parent.appendChild(element);
        return element;
      };
      // Halves are rounded to even, as in the tables: accuracies of 1,280 images often end in one.
      const fixed = (value, decimals) => {
        const scale = 10 ** decimals, below = Math.floor(value * scale);
        if (value * scale - below === 0.5) value = (below % 2 === 0 ? below : below + 1) / scale;
        return value.toLocaleString("en-US", {
          minimumFractionDigits: decimals, maximumFractionDigits: decimals, useGrouping: Math.abs(value) >= 10000 });
      };
      // A value as it was logged: single precision needs no more than nine digits.
      const exact = (value) => Math.abs(value) >= 10000 ? fixed(value, 1) : String(Number(value.toPrecision(7)));
      const shown = (chart, value) => chart.percent ? fixed(100 * value, 2) + " %" : exact(value);

      // The first index whose value is at least x.
      const lowerBound = (values, x) => {
        let low = 0, high = values.length;
        while (low < high) {
          const middle = (low + high) >> 1;
          if (values[middle] < x) low = middle + 1; else high = middle;
        }
        return low;
      };
      const nearest = (values, x) => {
        const i = lowerBound(values, x);
        if (i === 0) return 0;
        if (i === values.length) return i - 1;
        return x - values[i - 1] <= values[i] - x ? i - 1 : i;
      };
      const secondsAt = (run, step) => {
        const [steps, seconds] = run.t;
        if (!steps.length) return 0;
        const i = Math.min(Math.max(lowerBound(steps, step), 1), steps.length - 1);
        if (steps.length === 1) return seconds[0] * step / Math.max(steps[0], 1);
        const share = (step - steps[i - 1]) / (steps[i] - steps[i - 1]);
        return seconds[i - 1] + share * (seconds[i] - seconds[i - 1]);
      };
      const xs = (line) => {
        line.cache ||= { step: line.x };
        const run = data.runs[line.r];
        return line.cache[mode] ||= line.x.map((step) => mode === "epoch" ? step * run.e : secondsAt(run, step));
      };

      const niceStep = (least) => {
        const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-300)));
        return power * ([1, 2, 5].find((factor) => factor * power >= least * (1 - 1e-9)) || 10);
      };
      const axis = (low, high, limit, isTight) => {
        if (!(low < high)) { const pad = Math.max(Math.abs(low) * 0.1, 0.5); [low, high] = [low - pad, high + pad]; }
        let step = niceStep((high - low) / (limit - 1));
        if (!isTight) {
          while (Math.ceil(high / step) - Math.floor(low / step) > limit - 1) step = niceStep(step * 1.01);
          [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
        }
        const ticks = [];
        for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) ticks.push(i * step + 0);
        return { low, high, step, ticks };
      };
      const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));

      class Plot {
        constructor(figure) {
          this.figure = figure;
          this.chart = data.charts[figure.dataset.chart];
          this.isShared = figure.dataset.shared !== undefined;
          this.svg = figure.querySelector("svg");
          this.reset = figure.querySelector("button");
          this.range = null;
          this.tip = document.createElement("div");
          this.tip.className = "tip";
          this.tip.hidden = true;
          figure.appendChild(this.tip);
          figure.tabIndex = 0;
          this.listen();
        }
        get zoom() { return this.isShared ? shared : this.range; }
        set zoom(range) {
          if (this.isShared) { shared = range; plots.forEach((plot) => plot.isShared && plot.draw()); }
          else { this.range = range; this.draw(); }
        }
        get lines() {
          return this.isShared ? this.chart.lines.filter((line) => !hidden.has(line.r)) : this.chart.lines;
        }
        bounds(lines) {
          let low = Infinity, high = -Infinity;
          for (const line of lines) {
            const x = xs(line);
            low = Math.min(low, x[0]); high = Math.max(high, x[x.length - 1]);
          }
          return low < high ? [low, high] : [low < Infinity ? low - 0.5 : 0, low < Infinity ? low + 0.5 : 1];
        }
        draw() {
          const width = Math.max(this.figure.clientWidth, 240), height = width < 480 ? 200 : 260;
          const lines = this.lines, [first, last] = this.zoom || this.bounds(lines);
          let low = Infinity, high = -Infinity;
          const visible = lines.map((line) => {
            const x = xs(line);
            const from = Math.max(lowerBound(x, first) - 1, 0), to = Math.min(lowerBound(x, last) + 1, x.length);
            for (let i = from; i < to; i++) {
              if (x[i] < first || x[i] > last) continue;
              low = Math.min(low, line.y[i]); high = Math.max(high, line.y[i]);
            }
            return { line, x, from, to };
          });
          if (low > high) [low, high] = [0, 1];
          if (this.chart.zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
          const y = axis(low, high, 6, false), x = axis(first, last, width < 480 ? 5 : 7, true);
          const label = (tick) => this.chart.percent
            ? fixed(100 * tick, Math.max(0, decimals(y.step * 100))) + " %" : fixed(tick, decimals(y.step));
          const left = Math.max(12 + 7.6 * Math.max(...y.ticks.map((tick) => label(tick).length)), 34);
          const plot = { left, top: 28, width: Math.max(width - left - 14, 40), height };
          const total = plot.top + height + 46;
          const svg = this.svg;
          svg.replaceChildren();
          svg.setAttribute("viewBox", `0 0 ${width} ${total}`);
          const px = (value) => plot.left + (value - x.low) / (x.high - x.low) * plot.width;
          const py = (value) => plot.top + (y.high - value) / (y.high - y.low) * plot.height;
          for (const tick of y.ticks) {
            node(svg, "path", { class: "grid", d: `M${left} ${py(tick).toFixed(1)}h${plot.width}` });
            node(svg, "text", { x: left - 8, y: py(tick).toFixed(1), dy: ".35em", "text-anchor": "end" }, label(tick));
          }
          node(svg, "path", { class: "axis", d: `M${left} ${plot.top + height}h${plot.width}` });
          let end = -Infinity;
          for (const tick of x.ticks) {
            const text = fixed(tick, decimals(x.step)), half = 3.8 * text.length;
            node(svg, "path", { class: "axis", d: `M${px(tick).toFixed(1)} ${plot.top + height}v5` });
            if (px(tick) - half < end + 8) continue;
            end = px(tick) + half;
            node(svg, "text", { x: px(tick).toFixed(1), y: plot.top + height + 20, "text-anchor": "middle" }, text);
          }
          node(svg, "text", { x: 0, y: plot.top - 12 }, this.chart.label);
          node(svg, "text", { x: plot.left + plot.width, y: plot.top + height + 40, "text-anchor": "end" }, names[mode]);
          const id = "clip-" + this.figure.dataset.chart;
          node(node(svg, "clipPath", { id }), "rect",
            { x: plot.left - 2, y: plot.top - 4, width: plot.width + 4, height: height + 8 });
          const group = node(svg, "g", { "clip-path": `url(#${id})` });
          for (const { line, x: values, from, to } of visible) {
            let path = "";
            for (let i = from; i < to; i++) path += (i > from ? "L" : "M") + px(values[i]).toFixed(1) + " " + py(line.y[i]).toFixed(1);
            if (to - from > 1) node(group, "path", { class: `line ${line.p ? "pale " : ""}${line.s}`, d: path });
            if (line.m || to - from === 1) {
              for (let i = from; i < to; i++) {
                node(group, "circle", { class: "dot " + line.s, cx: px(values[i]).toFixed(1), cy: py(line.y[i]).toFixed(1), r: 3 });
              }
            }
          }
          this.overlay = node(svg, "g", {});
          Object.assign(this, { plot, px, py, xAxis: x, scale: width / svg.getBoundingClientRect().width || 1 });
          this.reset.hidden = !this.zoom;
          this.tip.hidden = true;
        }
        // The position of an event in pixels of the drawing.
        column(event) { return (event.clientX - this.svg.getBoundingClientRect().left) * this.scale; }
        value(column) {
          const { left, width } = this.plot, share = Math.min(Math.max((column - left) / width, 0), 1);
          return this.xAxis.low + share * (this.xAxis.high - this.xAxis.low);
        }
        show(at) {
          const lines = this.lines.filter((line) => line.y.length);
          const found = lines.map((line) => { const x = xs(line), i = nearest(x, at); return { line, x: x[i], y: line.y[i], step: line.x[i] }; })
            .filter((point) => point.x >= this.xAxis.low && point.x <= this.xAxis.high);
          if (!found.length) return this.hide();
          const hasMeans = lines.some((line) => line.p);
          const rows = new Map();
          for (const point of found) {
            const key = `${point.line.r} ${point.line.v || ""} ${point.line.n || ""}`;
            const row = rows.get(key) || { line: point.line };
            row[hasMeans && point.line.p ? "single" : "main"] = point;
            rows.set(key, row);
          }
          const value = (row) => (row.main || row.single).y;
          const all = [...rows.values()].sort((a, b) => value(b) - value(a));
          const best = found.reduce((a, b) => Math.abs(b.x - at) < Math.abs(a.x - at) ? b : a);
          const title = mode === "step" ? `step ${fixed(Math.round(best.x), 0)}`
            : mode === "epoch" ? `epoch ${fixed(best.x, 2)}` : `${fixed(best.x, 1)} s`;
          const limit = 12;
          const table = document.createElement("table");
          const cell = (parent, kind, text) => { const item = document.createElement(kind); item.textContent = text; parent.appendChild(item); return item; };
          const head = table.createTHead().insertRow();
          cell(head, "th", title);
          cell(head, "th", hasMeans ? "mean" : "");
          if (hasMeans) cell(head, "th", "single step");
          const body = table.createTBody();
          for (const row of all.slice(0, limit)) {
            const tr = body.insertRow();
            const name = cell(tr, "td", (row.line.n || data.runs[row.line.r].n) + (row.line.v ? ` (${row.line.v})` : ""));
            const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
            swatch.setAttribute("class", "chart swatch");
            node(swatch, "path", { class: "line " + row.line.s, d: "M0 5h22" });
            name.prepend(swatch);
            if (hasMeans) {
              cell(tr, "td", row.main ? shown(this.chart, row.main.y) : "");
              const single = cell(tr, "td", row.single ? shown(this.chart, row.single.y) : "");
              if (row.single) Object.assign(single.dataset, { step: row.single.step, value: row.single.y });
            } else {
              Object.assign(cell(tr, "td", shown(this.chart, row.main.y)).dataset, { step: row.main.step, value: row.main.y });
            }
          }
          this.tip.replaceChildren(table);
          if (all.length > limit) this.tip.append(`and ${all.length - limit} more`);
          this.overlay.replaceChildren();
          const x = this.px(best.x);
          node(this.overlay, "path", { class: "cursor", d: `M${x.toFixed(1)} ${this.plot.top}v${this.plot.height}` });
          for (const row of all.slice(0, limit)) {
            const point = row.single && !row.main ? row.single : row.main;
            const y = this.py(point.y);
            if (y < this.plot.top - 4 || y > this.plot.top + this.plot.height + 4) continue;
            node(this.overlay, "circle", { class: "dot " + row.line.s, cx: this.px(point.x).toFixed(1), cy: y.toFixed(1), r: 4 });
          }
          this.tip.hidden = false;
          this.cursor = at;
          const offset = this.svg.offsetTop || this.svg.getBoundingClientRect().top - this.figure.getBoundingClientRect().top;
          const column = x / this.scale, width = this.figure.clientWidth;
          const left = column < width / 2 ? column + 14 : column - 14 - this.tip.offsetWidth;
          this.tip.style.left = Math.min(Math.max(left, 0), Math.max(width - this.tip.offsetWidth, 0)) + "px";
          this.tip.style.top = offset + this.plot.top / this.scale + 4 + "px";
        }
        hide() { this.tip.hidden = true; if (this.overlay) this.overlay.replaceChildren(); this.cursor = null; }
        listen() {
          let start = null;
          const figure = this.figure;
          this.svg.addEventListener("pointerdown", (event) => {
            if (event.button) return;
            start = this.column(event);
            this.svg.setPointerCapture(event.pointerId);
            if (event.pointerType !== "mouse") this.show(this.value(start));
          });
          this.svg.addEventListener("pointermove", (event) => {
            const column = this.column(event);
            this.show(this.value(column));
            if (start === null || Math.abs(column - start) < 8) return;
            const { left, width, top, height } = this.plot, inside = (x) => Math.min(Math.max(x, left), left + width);
            const [a, b] = [inside(Math.min(start, column)), inside(Math.max(start, column))];
            node(this.overlay, "rect", { class: "selection", x: a, y: top, width: b - a, height });
          });
          this.svg.addEventListener("pointerup", (event) => {
            const column = this.column(event), from = start;
            start = null;
            if (from === null || Math.abs(column - from) < 8) return;
            const [a, b] = [this.value(Math.min(from, column)), this.value(Math.max(from, column))];
            if (b > a) this.zoom = [a, b];
          });
          this.svg.addEventListener("pointercancel", () => { start = null; this.hide(); });
          this.svg.addEventListener("pointerleave", () => { if (start === null) this.hide(); });
          this.svg.addEventListener("dblclick", () => { this.zoom = null; });
          this.reset.addEventListener("click", () => { this.zoom = null; });
          figure.addEventListener("keydown", (event) => {
            const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
            if (event.key === "Escape") { this.hide(); this.zoom = null; }
            if (!move) return;
            event.preventDefault();
            const { low, high } = this.xAxis, at = this.cursor ?? (low + high) / 2;
            this.show(Math.min(Math.max(at + move * (high - low) / 50, low), high));
          });
          figure.addEventListener("blur", () => this.hide());
        }
      }

      const plots = [...document.querySelectorAll("figure.plot")].map((figure) => new Plot(figure));
      // Charts in closed sections have no width, and are drawn when they get one.
      const drawAll = () => plots.forEach((plot) => { if (plot.figure.clientWidth) plot.draw(); });
      document.querySelectorAll("[data-needs-script]").forEach((element) => { element.hidden = false; });
      document.querySelectorAll("input[name=mode]").forEach((input) => input.addEventListener("change", () => {
        mode = input.value; shared = null; plots.forEach((plot) => { plot.range = null; }); drawAll();
      }));
      document.querySelectorAll("input[data-run]").forEach((input) => input.addEventListener("change", () => {
        const run = Number(input.dataset.run);
        if (input.checked) hidden.delete(run); else hidden.add(run);
        drawAll();
      }));
      document.querySelectorAll("button[data-all]").forEach((button) => button.addEventListener("click", () => {
        document.querySelectorAll("input[data-run]").forEach((input) => {
          input.checked = !!button.dataset.all;
          if (input.checked) hidden.delete(Number(input.dataset.run)); else hidden.add(Number(input.dataset.run));
        });
        drawAll();
      }));
      let lastWidth = 0;
      addEventListener("resize", () => { if (innerWidth !== lastWidth) { lastWidth = innerWidth; drawAll(); } });
      document.querySelectorAll("details").forEach((details) => details.addEventListener("toggle", () => {
        plots.forEach((plot) => { if (details.open && details.contains(plot.figure)) plot.draw(); });
      }));
      addEventListener("beforeprint", () => {
        document.querySelectorAll("details.run").forEach((details) => { details.open = true; });
        plots.forEach((plot) => plot.hide());
      });
      drawAll();
      document.documentElement.dataset.ready = "true";
    })();
    """#
}
