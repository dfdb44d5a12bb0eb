// Jobs: the list follows every change of status; a page of one job can start it again, delete it, and shows output.
(function () {
  "use strict";

  const LONGEST = 65536;

  /** Changes of many jobs at once ask for one new list. */
  function followAll() {
    let waiting = null;
    const ask = () => {
      if (waiting) return;
      waiting = setTimeout(() => {
        waiting = null;
        htmx.trigger(document.body, "earmark:jobs");
      }, 300);
    };
    earmark.listen("/api/jobs/events", { status: ask, deleted: ask });
  }

  function showOutput(root) {
    const section = root.querySelector("[data-output-section]");
    if (!section || !root.dataset.job) return;
    const host = section.querySelector("[data-output]");
    earmark.listen(`/api/jobs/${root.dataset.job}/events`, {
      output: (event) => {
        section.hidden = false;
        host.textContent = (host.textContent + event.text).slice(-LONGEST);
        host.scrollTop = host.scrollHeight;
      },
    });
  }

  async function act(button, id, what) {
    button.disabled = true;
    try {
      if (what === "resume") {
        const job = await earmark.fetchJson(`/api/jobs/${id}/resume`, { method: "POST" });
        location.assign(`/jobs/${job.id}`);
      } else {
        await earmark.fetchJson(`/api/jobs/${id}`, { method: "DELETE" });
        location.assign("/jobs");
      }
    } catch (error) {
      button.disabled = false;
      earmark.toast(error.message, "bad");
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-resume], [data-delete]");
    const root = button && button.closest("[data-job-page]");
    if (root) act(button, root.dataset.jobPage, button.hasAttribute("data-resume") ? "resume" : "delete");
  });

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.querySelector("[data-job-page]");
    if (root) showOutput(root);
    else followAll();
  });
})();
