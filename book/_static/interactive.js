/* Interactive figures: a button opens a chart with a slider; only then plotly is loaded, from beside this file. */
(function () {
  "use strict";

  var here = document.currentScript.src;
  var loading = null;

  function plotly() {
    loading = loading || new Promise(function (resolve, reject) {
      var script = document.createElement("script");
      script.src = here.replace(/interactive\.js.*$/, "plotly.min.js");
      script.onload = function () { resolve(window.Plotly); };
      script.onerror = reject;
      document.head.append(script);
    });
    return loading;
  }

  function isDark() {
    return document.documentElement.dataset.theme === "dark";
  }

  function axis(title, more) {
    return Object.assign({ title: { text: title }, gridcolor: "rgba(128,128,128,0.3)", zeroline: false, automargin: true }, more);
  }

  function layout(choice, step) {
    var matrix = Boolean(choice.classes);
    return {
      height: 420,
      margin: { l: 80, r: 10, t: 10, b: 60 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: getComputedStyle(document.body).color, size: 13 },
      legend: { orientation: "h", y: -0.22 },
      hovermode: "closest",
      xaxis: axis(choice.layout.x, matrix ? { type: "category", showgrid: false } : {}),
      yaxis: axis(choice.layout.y, matrix ? { type: "category", autorange: "reversed", showgrid: false }
        : { range: choice.layout.range }),
      shapes: matrix ? [] : [{
        type: "line", x0: step.x, x1: step.x, yref: "paper", y0: 0, y1: 1, line: { color: "#888", dash: "dot" }
      }]
    };
  }

  function sum(row) {
    return row.reduce(function (a, b) { return a + b; }, 0);
  }

  function share(count, n) {
    return n ? (100 * count / n).toFixed(1) + " %" : "none";
  }

  function heatmap(choice, step) {
    return [{
      type: "heatmap", x: choice.classes, y: choice.classes, zmin: 0, zmax: 100, showscale: false,
      colorscale: [[0, "#f7fbff"], [0.5, "#6baed6"], [1, "#08306b"]], xgap: 2, ygap: 2,
      z: step.counts.map(function (row) { return row.map(function (c) { return sum(row) ? 100 * c / sum(row) : 0; }); }),
      text: step.counts.map(function (row) {
        return row.map(function (count) { return count + "<br>" + share(count, sum(row)); });
      }),
      texttemplate: "%{text}",
      hovertemplate: "true %{y}, predicted %{x}: %{text}<extra></extra>"
    }];
  }

  function traces(choice, step) {
    if (choice.classes) return heatmap(choice, step);
    return choice.data.map(function (trace) {
      if (!isDark() || !trace.line || trace.line.color !== "#333333") return trace;
      return Object.assign({}, trace, { line: { color: "#cccccc" } });
    });
  }

  function said(choice, step) {
    if (choice.classes) {
      var n = sum(step.counts.map(sum));
      var right = sum(step.counts.map(function (row, i) { return row[i]; }));
      return ["right: " + right + " of " + n + ", " + share(right, n)].concat(step.counts.map(function (row, i) {
        return choice.classes[i] + ": " + row[i] + " of " + sum(row) + " found, " + share(row[i], sum(row));
      }));
    }
    var lines = [];
    choice.data.forEach(function (trace) {
      var place = trace.x.indexOf(step.x);
      if (place >= 0) lines.push(trace.text[place]);
    });
    return lines;
  }

  function labelled(text, element) {
    var label = document.createElement("label");
    label.append(text + " ", element);
    return label;
  }

  function open(box, content) {
    var select = document.createElement("select");
    content.choices.forEach(function (choice) { select.append(new Option(choice.label)); });
    var slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.value = content.start;
    var value = document.createElement("output");
    var chart = document.createElement("div");
    var list = document.createElement("ul");
    list.setAttribute("aria-live", "polite");
    var controls = document.createElement("div");
    controls.className = "meddef-controls";
    controls.append(labelled("Show", select), labelled(content.slider, slider), value);
    box.append(controls, chart, list);

    function draw() {
      var choice = content.choices[select.selectedIndex];
      slider.max = choice.steps.length - 1;
      var step = choice.steps[slider.value];
      value.textContent = step.label;
      slider.setAttribute("aria-valuetext", content.slider + " " + step.label);
      list.replaceChildren.apply(list, said(choice, step).map(function (text) {
        var item = document.createElement("li");
        item.textContent = text;
        return item;
      }));
      window.Plotly.react(chart, traces(choice, step), layout(choice, step), { displayModeBar: false, responsive: true });
    }

    controls.addEventListener("input", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    draw();
    select.focus();
  }

  function equip(box) {
    var button = box.querySelector("button");
    button.addEventListener("click", function () {
      button.disabled = true;
      plotly().then(function () {
        button.remove();
        open(box, JSON.parse(box.querySelector("script").textContent));
      }, function () {
        button.textContent = "plotly.min.js is not beside this book";
      });
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll(".meddef-interactive").forEach(equip);
  });
})();
