// Before anything is drawn: dark or light, as chosen here or as the machine is set.
(() => {
  const wanted = matchMedia("(prefers-color-scheme: light)");
  let turned = null; // of a browser that keeps nothing: then it holds for this page
  const chosen = () => {
    try {
      return localStorage.getItem("strata-theme") || turned;
    } catch {
      return turned;
    }
  };
  const apply = () => {
    document.documentElement.dataset.theme = chosen() || (wanted.matches ? "light" : "dark");
    dispatchEvent(new Event("strata-theme"));
  };
  wanted.addEventListener("change", apply);
  apply();
  window.strataTheme = () => {
    turned = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("strata-theme", turned);
    } catch {
      // see above
    }
    apply();
  };
})();
