/* Fixes, at page load, of accessibility problems that axe-core finds in the theme's pages. */
(function () {
  "use strict";

  function all(selector, mend) {
    document.querySelectorAll(selector).forEach(mend);
  }

  function untitle(button) {
    // The button has a name. Font Awesome turns titles into elements of the drawings that it puts there, at any moment.
    button.querySelectorAll("[title], svg[aria-labelledby]").forEach(function (icon) {
      icon.removeAttribute("title");
      icon.removeAttribute("aria-labelledby");
      icon.setAttribute("aria-hidden", "true");
    });
    button.querySelectorAll("title").forEach(function (title) { title.remove(); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    all(".bd-sidebar-primary", function (sidebar) {
      sidebar.setAttribute("role", "region"); // its title lies in no landmark otherwise
      sidebar.setAttribute("aria-label", "Sidebar");
    });
    all(".search-button-field", function (button) {
      button.removeAttribute("aria-label"); // it says less than the text that is seen
    });
    all(".theme-switch-button", function (button) {
      untitle(button);
      new MutationObserver(function () { untitle(button); }).observe(button, { childList: true, subtree: true });
    });
    all(".bd-sidebar-primary .has-children > details > summary", function (summary) {
      summary.setAttribute("aria-label", "Pages of " + summary.closest("li").querySelector("a").textContent);
    });
    all("summary[aria-label]", function (summary) {
      if (summary.textContent.trim()) summary.removeAttribute("aria-label"); // of hidden cells: the text is the name
    });
    all(".cell_output, .meddef-scroll", function (box) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; // scrolled with the keyboard too
    });
  });
})();
