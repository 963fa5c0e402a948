import Foundation
import TestSupport
import Testing

/// The site of `launch/docs`, made from this build.
@Suite struct SiteTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static func names(_ folder: String, _ suffix: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent(folder).path)
      .filter { $0.hasSuffix(suffix) }.map { String($0.dropLast(suffix.count)) }.sorted()
  }

  /// Runs the program of this build.
  private static func help(_ words: [String]) throws -> String {
    try ProcessRun(BuiltProducts.executable("wrn-dist"), words + ["--help"]).run().standardOutput
  }

  @Test func itHasEveryDocumentCommandFlagAndModule() throws {
    let folder = try TemporaryDirectory()
    let output = try ProcessRun(
      Self.root.appendingPathComponent("launch/docs").path,
      ["--output", "\(folder.path)/site", "--base-path", "/some/where/"],
      environment: MPIRun.environment(adding: ["WRN_SKIP_BUILD": "1", "WRN_SOURCE_URL": "https://example.org/blob"]),
      workingFolder: "/", limit: .seconds(600)
    ).run()
    try #require(output.exitCode == 0, "\(output.standardError)")
    #expect(folder.read("site/index.html").contains("url=documentation/wrn-dist/"))
    #expect(folder.read("site/documentation/wrn-dist/index.html").contains(#"baseUrl = "/some/where/""#))

    let landing = folder.read("site/data/documentation/wrn-dist.json")
    #expect(landing.contains("Bitwise reproducible"))
    for name in try Self.names("docs", ".md") + Self.names("docs/results", ".md").filter({ $0 != "README" }) {
      #expect(folder.read("site/data/documentation/wrn-dist/\(name).json").contains(#""kind":"article""#), "\(name)")
    }
    // Links to other pages and to files of the repository.
    let problems = folder.read("site/data/documentation/wrn-dist/troubleshooting.json")
    #expect(problems.contains("doc:\\/\\/wrn-dist\\/documentation\\/wrn-dist\\/training#Exit-codes"))
    let step = folder.read("site/data/documentation/wrn-dist/one-training-step.json")
    #expect(step.contains("https:\\/\\/example.org\\/blob\\/Sources\\/Training\\/Trainer.swift"))

    func check(_ words: [String]) throws {
      let name = words.isEmpty ? "command-line" : (["wrn-dist"] + words).joined(separator: "-")
      let page = folder.read("site/data/documentation/wrn-dist/\(name).json")
      let help = try Self.help(words)
      #expect(page.contains(#""kind":"article""#), "\(name)")
      for match in help.matches(of: /(?m)^  (?:-\w, )?(--[a-z][a-z0-9-]*)/) {
        #expect(page.contains(#""code":"\#(match.output.1)"#), "\(name): \(match.output.1)")
      }
      guard let commands = help.split(separator: "SUBCOMMANDS:").dropFirst().first else { return }
      for match in commands.matches(of: /(?m)^  ([a-z-]+)( |$)/) { try check(words + [String(match.output.1)]) }
    }
    try check([])
    for module in ["training", "models", "dataparallel", "digests"] {
      #expect(folder.read("site/data/documentation/\(module).json").contains(#""role":"collection""#), "\(module)")
      #expect(landing.contains("documentation\\/\(module)\""), "\(module)")
    }
  }

  /// A copy of the documents, with links to everything else.
  private static func copy() throws -> TemporaryDirectory {
    let folder = try TemporaryDirectory()
    for name in try FileManager.default.contentsOfDirectory(atPath: root.path) where name != ".build" && name != "docs"
    {
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder.path)/\(name)", withDestinationPath: root.appendingPathComponent(name).path)
    }
    try folder.copyScripts(root.appendingPathComponent("docs"))
    try FileManager.default.createDirectory(atPath: "\(folder.path)/reference", withIntermediateDirectories: false)
    return folder
  }

  @Test(arguments: ["absent.md", "training.md#no-such-heading", "../Sources/Absent.swift"])
  func aWrongLinkIsAnError(target: String) throws {
    let folder = try Self.copy()
    try folder.write("docs/recipes.md", folder.read("docs/recipes.md") + "\nSee [this](\(target)).\n")
    let output = try ProcessRun(
      "\(folder.path)/docs/site/catalog", ["\(folder.path)/catalog", "\(folder.path)/reference"]
    ).run()
    #expect(output.exitCode == 1)
    #expect(output.standardError.contains("docs/recipes.md links to \(target), which"), "\(output.standardError)")
  }

  @Test func codeIsNotRewritten() throws {
    let folder = try Self.copy()
    let code = "```swift\nlet x = [a](absent.md)\n```\n"
    let text = folder.read("docs/recipes.md") + "\nSee [that](training.md#exit-codes).\n\n\(code)"
    try folder.write("docs/recipes.md", text)
    let output = try ProcessRun(
      "\(folder.path)/docs/site/catalog", ["\(folder.path)/catalog", "\(folder.path)/reference"]
    ).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(folder.read("catalog/recipes.md").hasSuffix("\nSee [that](doc:training#Exit-codes).\n\n\(code)"))
  }

  /// Nor is a file.
  @Test(arguments: ["", "/mine"]) func aDirectoryThatIsNoSiteIsNotReplaced(name: String) throws {
    let folder = try TemporaryDirectory()
    try folder.write("mine", "text")
    let output = try ProcessRun(
      Self.root.appendingPathComponent("launch/docs").path, ["--output", folder.path + name],
      environment: MPIRun.environment(adding: ["WRN_SKIP_BUILD": "1"])
    ).run()
    #expect(output.exitCode == 73)
    #expect(folder.read("mine") == "text")
  }

  /// Ubuntu's apt has no Chromium, without which tests are skipped.
  @Test func workflowsRunOnDebian() throws {
    for name in try Self.names(".github/workflows", ".yml") {
      let file = Self.root.appendingPathComponent(".github/workflows/\(name).yml")
      let images = try String(contentsOf: file, encoding: .utf8).matches(of: /swift:[0-9.]+-(\w+)/)
      #expect(!images.isEmpty && images.allSatisfy { $0.output.1 == "bookworm" }, "\(name)")
    }
  }

  /// Hosting calls the scripts that everyone else calls.
  @Test func workflowsCallOnlyLaunchScripts() throws {
    for name in try Self.names(".github/workflows", ".yml") {
      let file = Self.root.appendingPathComponent(".github/workflows/\(name).yml")
      let commands = try String(contentsOf: file, encoding: .utf8).matches(of: /(?m)^ *(?:- )?run: *(.*)$/)
      #expect(!commands.isEmpty, "\(name)")
      for command in commands {
        let script = String(command.output.1.prefix { $0 != " " })
        #expect(script.hasPrefix("launch/"), "\(name): \(command.output.1)")
        #expect(FileManager.default.isExecutableFile(atPath: Self.root.appendingPathComponent(script).path))
      }
    }
  }
}
