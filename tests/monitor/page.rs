//! The page in a browser, narrow and wide, light and dark. Screenshots are kept in `target/monitor/`.

use std::path::Path;

use serde_json::json;

use super::browser::Browser;
use super::scene::shared;

/// The text of a row that begins with this.
fn row(browser: &mut Browser, head: &str) -> String {
    let script = format!(
        "[...document.querySelectorAll('tbody tr')].filter(r => r.checkVisibility())\
         .find(r => r.firstChild.textContent === {})?.innerText ?? ''",
        json!(head)
    );
    browser.evaluate(&script).as_str().unwrap().to_owned()
}

fn assert_fits(browser: &mut Browser, width: u32) {
    let overflow = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() \
         && getComputedStyle(e).clipPath === 'none' && !e.closest('thead, caption') \
         && e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)\
         .map(e => e.outerHTML.slice(0, 120))",
    );
    assert_eq!(overflow, json!([]), "wider than {width} px");
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "{width} px");
}

#[test]
fn the_page_shows_who_grows_drains_and_is_stuck_at_any_width() {
    let Some(mut browser) = Browser::start_or_skip("the_page_shows_who_grows_drains_and_is_stuck_at_any_width") else {
        return;
    };
    let (_, monitor) = shared();
    for (group, status) in [("growing:clicks", "growing"), ("draining:orders", "draining"), ("stuck:mails", "stuck")] {
        monitor.wait_for(group, status);
    }
    monitor.wait_for("abandoned:old", "no_owner");
    monitor.wait_for("patient:bills", "delayed");
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/monitor");
    for (width, height, scheme) in [(360, 740, "light"), (1400, 900, "light"), (360, 740, "dark"), (1400, 900, "dark")]
    {
        browser.look(width, height, scheme);
        browser.open("about:blank");
        browser.open(&monitor.url);
        browser.until("document.body?.dataset.ready === 'groups'");
        for (group, says) in [
            ("growing:clicks", "growing"),
            ("draining:orders", "draining"),
            ("stuck:mails", "stuck"),
            ("abandoned:old", "no owner"),
            ("patient:bills", "delayed"),
        ] {
            let text = row(&mut browser, group);
            assert!(text.contains(says), "{group} at {width} px: {text}");
        }
        let growing = row(&mut browser, "growing:clicks");
        assert!(growing.contains("never"), "no end in sight: {growing}");
        assert_fits(&mut browser, width);
        let curves =
            browser.evaluate("[...document.querySelectorAll('#groups .line')].filter(l => l.checkVisibility()).length");
        assert!(curves.as_u64() >= Some(4), "{curves}");
        // However rows are laid out, they are rows.
        assert!(browser.role("row") >= 5 && browser.role("rowheader") >= 4, "{} rows", browser.role("row"));
        browser.screenshot(&shots.join(format!("groups-{width}-{scheme}.png")));

        // By the link, as a user does.
        browser
            .evaluate("[...document.querySelectorAll('#groups a')].find(a => a.textContent === 'stuck:mails').click()");
        browser.until("document.body.dataset.ready === 'stuck:mails'");
        let partition = if width < 861 { "Partition 0" } else { "0" };
        let text = row(&mut browser, partition);
        assert!(text.contains("held") && text.contains("at offset 3"), "{width} px: {text}");
        assert_eq!(browser.evaluate("document.activeElement.textContent"), "stuck:mails");
        assert_fits(&mut browser, width);
        browser.screenshot(&shots.join(format!("stuck-{width}-{scheme}.png")));

        browser.evaluate("location.hash = encodeURIComponent('patient:bills'), 0");
        browser.until("document.body.dataset.ready === 'patient:bills'");
        let text = browser.evaluate("document.getElementById('topics').innerText");
        assert!(text.as_str().is_some_and(|text| text.contains("delayed") && text.contains("due in")), "{text}");
        assert_fits(&mut browser, width);

        browser.evaluate("location.hash = encodeURIComponent('growing:clicks'), 0");
        browser.until("document.body.dataset.ready === 'growing:clicks' && !!document.querySelector('#chart .line')");
        assert_fits(&mut browser, width);
        browser.screenshot(&shots.join(format!("growing-{width}-{scheme}.png")));
    }
    // Names are text, whatever is in them.
    assert_eq!(browser.evaluate("document.querySelectorAll('b').length"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
    let asked = browser.requests();
    let elsewhere =
        |url: &&String| !(url.starts_with(&monitor.url) || url.starts_with("data:") || *url == "about:blank");
    assert!(asked.len() > 8, "{asked:?}");
    assert_eq!(asked.iter().find(elsewhere), None);
}
