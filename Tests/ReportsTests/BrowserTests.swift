import Foundation
import Reports
import TestSupport
import Testing

/// The page in headless Chromium: no errors, fitting widths, values under the pointer, zoom, units of x.
///
/// Skipped without Chromium. With `WRN_SCREENSHOTS=DIR` the screenshots are kept there.
@Suite(.serialized) struct BrowserTests {
  private static let browser = ["chromium", "chromium-browser", "google-chrome"].lazy
    .compactMap { try? BuiltProducts.installed($0) }.first
  private static let isInstalled = ConditionTrait.enabled(
    if: browser != nil, "Chromium is not installed; run launch/setup --test")

  /// Two runs with everything that a page can show.
  private static func page(_ folder: TemporaryDirectory) throws -> String {
    let first = RunFixture(folder: folder, name: "thin & <b>")
    try first.write()
    try first.writeDescription()
    try first.writePredictions(count: 500)
    let second = RunFixture(
      folder: folder, name: "wide", settings: ["widen-factor": "2"], steps: 300, evaluations: [(200, 1.75, 0.25)])
    try second.write()
    return try RunFixture.report([first.path, second.path])
  }

  /// Opens a page with a script after its own, and returns what the script leaves in `results`.
  private func results(
    _ folder: TemporaryDirectory, _ page: String, width: Int, script: String
  ) throws -> (json: [String: Any], log: String) {
    let browser = try #require(Self.browser)
    // Errors are collected before the page's own scripts run.
    let head = "<head><script>window.problems=[];onerror=(m)=>{problems.push(String(m))};</script>"
    let tail = """
      <script>(() => { const out = {}; try { \(script) } catch (error) { problems.push(String(error)); }
      out.problems = problems; out.ready = document.documentElement.dataset.ready;
      out.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth; out.width = innerWidth;
      const results = document.createElement("pre"); results.id = "test-results";
      results.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(out)))); document.body.append(results); })();</script></body>
      """
    // The browser's smallest window is wider than a telephone; a frame is not.
    try folder.write("page.html", page.replacing("<head>", with: head).replacing("</body>", with: tail))
    let frame = """
      <!DOCTYPE html><html><body style="margin:0"><iframe src="page.html" style="border:0;width:\(width)px;height:900px"></iframe>
      <pre id="copy"></pre><script>document.querySelector("iframe").onload = (event) => {
      document.getElementById("copy").textContent = event.target.contentDocument.getElementById("test-results").textContent; };</script></body></html>
      """
    try folder.write("frame.html", frame)
    let output = try chromium(
      browser, folder,
      ["--allow-file-access-from-files", "--window-size=1400,1000", "--dump-dom", "file://\(folder.path)/frame.html"])
    let text = output.standardOutput.components(separatedBy: #"<pre id="copy">"#).last?.prefix { $0 != "<" } ?? ""
    let data = try #require(
      Data(base64Encoded: String(text)), "\(output.standardOutput.suffix(300)) \(output.standardError.suffix(2000))")
    let json = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    return (json, output.standardError)
  }

  private func chromium(_ browser: String, _ folder: TemporaryDirectory, _ arguments: [String]) throws
    -> ProcessRun.Output
  {
    let flags = [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
      "--hide-scrollbars",
      "--force-color-profile=srgb", "--enable-logging=stderr", "--virtual-time-budget=4000",
      "--user-data-dir=\(folder.path)/profile",
    ]
    return try ProcessRun(browser, flags + arguments, limit: .seconds(120)).run()
  }

  private func expectNoProblems(_ results: (json: [String: Any], log: String), width: Int) {
    #expect(results.json["problems"] as? [String] == [])
    #expect(results.json["ready"] as? String == "true")
    // Nothing is wider than the screen: tables scroll within their own boxes.
    #expect(results.json["overflow"] as? Int == 0 && results.json["width"] as? Int == width)
    #expect(!results.log.contains(":CONSOLE"), "\(results.log)")
  }

  @Test(isInstalled, arguments: [390, 1280])
  func valuesUnderThePointerAreThoseOfTheLog(width: Int) throws {
    let folder = try TemporaryDirectory()
    let script = """
      for (const key of ["trainingLoss", "evaluationLoss", "accuracy", "imagesPerSecond"]) {
        const figure = document.querySelector(`figure[data-chart=${key}]`), svg = figure.querySelector("svg");
        out[key] = [];
        for (const share of [0.01, 0.15, 0.3, 0.345, 0.5, 0.77, 0.99]) {
          const box = svg.getBoundingClientRect();
          svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + share * box.width, clientY: box.top + 90, bubbles: true }));
          const tip = figure.querySelector(".tip");
          out[key].push([...tip.querySelectorAll("tbody tr")].map((row) => {
            const cell = row.querySelector("[data-step]");
            return { name: row.cells[0].textContent, step: cell?.dataset.step, value: cell?.dataset.value, text: cell?.textContent };
          }));
          const inside = tip.getBoundingClientRect();
          out.tipInside = (out.tipInside ?? true) && inside.left >= -1 && inside.right <= innerWidth + 1;
        }
      }
      """
    let results = try results(folder, Self.page(folder), width: width, script: script)
    expectNoProblems(results, width: width)
    #expect(results.json["tipInside"] as? Bool == true)
    let evaluations: [String: [Int: (Double, Double)]] = [
      "thin & <b>": [1: (2.3, 0.125), 200: (1.5, 0.4375), 400: (1.25, 0.53125)], "wide": [200: (1.75, 0.25)],
    ]
    var count = 0
    for key in ["trainingLoss", "evaluationLoss", "accuracy", "imagesPerSecond"] {
      let positions = try #require(results.json[key] as? [[[String: String]]])
      for point in positions.joined() {
        guard let step = point["step"].flatMap({ Int($0) }), let value = point["value"].flatMap({ Float($0) }) else {
          continue
        }
        let name = try #require(point["name"])
        count += 1
        switch key {
        case "trainingLoss": #expect(value == RunFixture.loss(step))
        case "imagesPerSecond": #expect(value == RunFixture.rate(step))
        case "evaluationLoss": #expect(value == evaluations[name]?[step].map { Float($0.0) })
        default:
          #expect(value == evaluations[name]?[step].map { Float($0.1) })
          #expect(point["text"] == evaluations[name]?[step].map { String(format: "%.2f %%", 100 * $0.1) })
        }
      }
    }
    #expect(count > 30)
  }

  /// Dragging selects a range of x, which all charts of the comparison then show; a double click shows everything.
  @Test(isInstalled) func draggingZooms() throws {
    let folder = try TemporaryDirectory()
    let script = """
      const labels = (key) => [...document.querySelectorAll(`figure[data-chart=${key}] svg text[text-anchor=middle]`)].map((text) => text.textContent);
      const figure = document.querySelector("figure[data-chart=trainingLoss]"), svg = figure.querySelector("svg");
      const send = (type, share) => {
        const box = svg.getBoundingClientRect();
        svg.dispatchEvent(new PointerEvent(type, { clientX: box.left + share * box.width, clientY: box.top + 90, bubbles: true, pointerId: 1, button: 0 }));
      };
      svg.setPointerCapture = () => {};
      out.before = labels("trainingLoss");
      send("pointerdown", 0.3); send("pointermove", 0.4); out.selection = !!svg.querySelector(".selection"); send("pointerup", 0.45);
      out.zoomed = labels("trainingLoss"); out.other = labels("accuracy"); out.parts = labels("parts-0");
      out.button = figure.querySelector("button").hidden;
      out.spike = [...svg.querySelectorAll("path.pale")].map((path) => path.getBBox().height);
      figure.querySelector("button").click();
      out.after = labels("trainingLoss");
      send("pointerdown", 0.3); send("pointerup", 0.302); out.clicked = labels("trainingLoss");
      const input = document.querySelector("input[value=epoch]"); input.click();
      out.epochs = labels("trainingLoss");
      out.axis = [...svg.querySelectorAll("text[text-anchor=end]")].pop().textContent;
      document.querySelector("input[value=time]").click();
      out.seconds = labels("trainingLoss"); out.timeAxis = [...svg.querySelectorAll("text[text-anchor=end]")].pop().textContent;
      document.querySelector("input[value=step]").click();
      const lines = () => svg.querySelectorAll("path.line").length;
      out.lines = [lines()];
      document.querySelector("input[data-run='1']").click(); out.lines.push(lines());
      document.querySelector("input[data-run='0']").click(); out.lines.push(lines());
      """
    let results = try results(folder, Self.page(folder), width: 1280, script: script)
    expectNoProblems(results, width: 1280)
    func numbers(_ key: String) -> [Double] {
      (results.json[key] as? [String] ?? []).compactMap { Double($0.replacing(",", with: "")) }
    }
    #expect(
      numbers("before").last == 400 && numbers("after") == numbers("before") && numbers("clicked") == numbers("before"))
    let zoomed = numbers("zoomed")
    #expect(
      zoomed.count >= 3 && zoomed.allSatisfy { (90...190).contains($0) } && numbers("other") == zoomed,
      "\(results.json)")
    #expect(numbers("parts") == [100, 200, 300], "the parts of a step have a range of x for themselves")
    #expect(results.json["selection"] as? Bool == true && results.json["button"] as? Bool == false)
    // 400 steps of 64 images are 2.56 epochs of 10,000.
    #expect((numbers("epochs").last ?? 0) > 2 && (numbers("epochs").last ?? 9) <= 2.56)
    #expect(results.json["axis"] as? String == "epochs" && results.json["timeAxis"] as? String == "training time (s)")
    let seconds = (1...400).reduce(0.0) { $0 + 64 / Double(RunFixture.rate($1)) }
    #expect((numbers("seconds").last ?? 0) > seconds * 0.75 && (numbers("seconds").last ?? 0) <= seconds)
    #expect(results.json["lines"] as? [Int] == [4, 2, 0])
  }

  /// Screenshots at two widths, light and dark, are images of the expected width.
  @Test(isInstalled, arguments: [(500, false), (1280, false), (1280, true)])
  func screenshots(width: Int, isDark: Bool) throws {
    let folder = try TemporaryDirectory()
    let browser = try #require(Self.browser)
    try folder.write("page.html", Self.page(folder))
    let name = "report-\(width)\(isDark ? "-dark" : "").png"
    let output = try chromium(
      browser, folder,
      ["--window-size=\(width),2600", "--screenshot=\(folder.path)/\(name)"]
        + (isDark ? ["--blink-settings=preferredColorScheme=0"] : [])
        + ["file://\(folder.path)/page.html"])
    #expect(!output.standardError.contains(":CONSOLE"), "\(output.standardError)")
    let png = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(name)"))
    #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]) && png.count > 50_000)
    let found = png[16..<20].reduce(0) { $0 << 8 | Int($1) }
    #expect(found == width)
    if let directory = ProcessInfo.processInfo.environment["WRN_SCREENSHOTS"] {
      try png.write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }
  }
}
