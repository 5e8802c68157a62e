/* Filters for tables of class meddef-findings. Without scripts the whole table is shown. */
(function () {
  "use strict";

  var FIELDS = [["place", "Place"], ["kind", "Kind"], ["verdict", "Verdict"]];

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

    function filter() {
      var wanted = words.value.toLowerCase();
      var shown = 0;
      rows.forEach(function (row) {
        var fits = FIELDS.every(function (field, i) {
          return !selects[i].value || selects[i].value === row.dataset[field[0]];
        });
        row.hidden = !(fits && row.textContent.toLowerCase().indexOf(wanted) >= 0);
        if (!row.hidden) shown += 1;
      });
      count.textContent = shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " shown";
    }

    bar.addEventListener("input", filter);
    bar.addEventListener("submit", function (event) { event.preventDefault(); });
    table.closest(".meddef-scroll").before(bar);
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
