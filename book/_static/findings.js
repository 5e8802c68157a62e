/* Filters for tables of class meddef-findings, which show the first matching rows until more are requested.
   Without scripts, and on paper, the whole table is shown. */
(function () {
  "use strict";

  var FIELDS = [["place", "Place"], ["kind", "Kind"], ["verdict", "Verdict"]];
  var FIRST = 30; // rows

  function choices(rows, field) {
    var seen = [];
    rows.forEach(function (row) {
      if (seen.indexOf(row.dataset[field]) < 0) seen.push(row.dataset[field]);
    });
    return seen;
  }

  function control(label, element) {
    var wrapper = document.createElement("label");
    wrapper.append(label + " ", element);
    return wrapper;
  }

  function select(rows, field) {
    var element = document.createElement("select");
    [""].concat(choices(rows, field)).forEach(function (value) {
      var option = document.createElement("option");
      option.value = value;
      option.textContent = value || "all";
      element.append(option);
    });
    return element;
  }

  function equip(table) {
    var rows = Array.from(table.tBodies[0].rows);
    var bar = document.createElement("form");
    bar.className = "meddef-filters";
    var selects = FIELDS.map(function (field) {
      var element = select(rows, field[0]);
      bar.append(control(field[1], element));
      return element;
    });
    var words = document.createElement("input");
    words.type = "search";
    bar.append(control("Words", words));
    var count = document.createElement("output");
    bar.append(count);
    var box = table.closest(".meddef-scroll");
    var more = document.createElement("button");
    more.type = "button";
    more.className = "meddef-more";
    var limit = FIRST;

    function filter() {
      var wanted = words.value.toLowerCase();
      var fitting = 0;
      rows.forEach(function (row) {
        var fits = FIELDS.every(function (field, i) {
          return !selects[i].value || selects[i].value === row.dataset[field[0]];
        });
        row.hidden = !(fits && row.textContent.toLowerCase().indexOf(wanted) >= 0);
        if (!row.hidden) fitting += 1;
        row.classList.toggle("meddef-later", fitting > limit);
      });
      var shown = Math.min(fitting, limit);
      count.textContent = shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " shown";
      more.hidden = fitting <= limit;
      more.textContent = "Show " + (fitting - shown).toLocaleString("en") + " more";
    }

    bar.addEventListener("input", function () {
      limit = FIRST;
      filter();
    });
    more.addEventListener("click", function () {
      limit = Infinity;
      filter();
    });
    bar.addEventListener("submit", function (event) { event.preventDefault(); });
    box.before(bar);
    box.after(more);
    window.addEventListener("hashchange", fromAddress);
    filter();
    fromAddress();

    /* "#find=bold:" in the address shows the findings with these words. */
    function fromAddress() {
      var asked = /^#find=(.*)$/.exec(window.location.hash);
      if (!asked) return;
      words.value = decodeURIComponent(asked[1]);
      filter();
      bar.scrollIntoView();
    }
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("table.meddef-findings").forEach(equip);
  });
})();
