import Foundation
import TestSupport
import Testing

/// `launch/fetch-cifar10` against a server on loopback: the directory appears complete or not at all.
@Suite struct FetchTests {
  private static let name = "cifar-10-batches-bin"
  private static let files =
    (1...5).map { "data_batch_\($0).bin" } + ["test_batch.bin", "batches.meta.txt"]

  private let folder: TemporaryDirectory
  private let archive: Data
  private let sum: String

  /// Creates an archive with files of the expected names.
  init() throws {
    folder = try TemporaryDirectory()
    for file in Self.files { try folder.write("source/\(Self.name)/\(file)", "contents of \(file)") }
    (archive, sum) = try Self.pack(folder, "source")
  }

  private static func pack(
    _ folder: TemporaryDirectory, _ source: String, name: String = Self.name, summing tool: String = "sha256sum"
  ) throws -> (Data, String) {
    let file = folder.url.appendingPathComponent("\(source).tar.gz").path
    let tar = try ProcessRun(
      BuiltProducts.installed("tar"), ["-czf", file, "-C", "\(folder.path)/\(source)", name]
    ).run()
    #expect(tar.exitCode == 0, "\(tar.standardError)")
    let sum = try ProcessRun(BuiltProducts.installed(tool), [file]).run()
    return (try Data(contentsOf: URL(fileURLWithPath: file)), String(sum.standardOutput.prefix { $0 != " " }))
  }

  private func fetch(
    _ answer: LoopbackServer.Answer?, into target: String = "data", sum: String? = nil, flags: [String] = [],
    kind: String = "CIFAR10", variables: [String: String] = [:]
  ) throws -> (output: ProcessRun.Output, requests: [String]) {
    let server = try LoopbackServer(answer.map { ["/cifar.tar.gz": $0] } ?? [:])
    defer { server.stop() }
    var environment = ProcessInfo.processInfo.environment
    environment["\(kind)_URL"] = "\(server.address)/cifar.tar.gz"
    environment[kind == "CIFAR10" ? "CIFAR10_SHA256" : "CIFAR100_MD5"] = sum ?? self.sum
    environment.merge(variables) { $1 }
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] { environment[proxy] = nil }
    let output = try ProcessRun(
      ScriptFixture.repository.appendingPathComponent("launch/fetch-cifar10").path, flags + [target],
      environment: environment, workingFolder: folder.path, limit: .seconds(60)
    ).run()
    return (output, server.requests)
  }

  /// Expects that a fetch fails with one sentence and leaves no files.
  private func refuse(
    _ answer: LoopbackServer.Answer?, sum: String? = nil, code: Int32, _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let (output, _) = try fetch(answer, sum: sum)
    #expect(output.exitCode == code, "\(output.standardError)", sourceLocation: sourceLocation)
    #expect(output.standardError.contains(words), "\(output.standardError)", sourceLocation: sourceLocation)
    #expect(try contents("data").isEmpty, sourceLocation: sourceLocation)
  }

  private func contents(_ name: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/\(name)").sorted()
  }

  @Test func theArchiveIsUnpackedOnce() throws {
    let first = try fetch(.body(archive))
    #expect(first.output.exitCode == 0, "\(first.output.standardError)")
    #expect(first.requests == ["/cifar.tar.gz"])
    #expect(try contents("data") == [Self.name])
    #expect(try contents("data/\(Self.name)") == Self.files.sorted())
    for file in Self.files { #expect(folder.read("data/\(Self.name)/\(file)") == "contents of \(file)") }
    let second = try fetch(.body(archive))
    #expect(second.output.exitCode == 0)
    #expect(second.output.standardOutput.contains("exists already; nothing to do."))
    #expect(second.requests.isEmpty)
  }

  @Test func theArchiveOfCIFAR100IsUnpacked() throws {
    let name = "cifar-100-binary"
    let files = ["coarse_label_names.txt", "fine_label_names.txt", "test.bin", "train.bin"]
    for file in files { try folder.write("hundred/\(name)/\(file)", "contents of \(file)") }
    let (archive, sum) = try Self.pack(folder, "hundred", name: name, summing: "md5sum")
    let (output, _) = try fetch(
      .body(archive), sum: sum, flags: ["--dataset", "cifar100"], kind: "CIFAR100")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(try contents("data") == [name])
    #expect(try contents("data/\(name)") == files)
    for file in files { #expect(folder.read("data/\(name)/\(file)") == "contents of \(file)") }
    let wrong = try fetch(
      .body(archive), into: "other", sum: String(repeating: "0", count: 32), flags: ["--dataset=cifar100"],
      kind: "CIFAR100")
    #expect(wrong.output.exitCode == 65)
    #expect(wrong.output.standardError.contains("try again, or another CIFAR100_URL."))
  }

  @Test func aWrongSumIsRefused() throws {
    try refuse(
      .body(archive), sum: String(repeating: "0", count: 64), code: 65,
      "has the SHA-256 sum \(sum) instead of 00000000000000000000000000000000")
    let (output, requests) = try fetch(.body(archive), variables: ["CIFAR10_MD5": "c32a1d4ab5d03f1284b67883e8d87530"])
    #expect(output.exitCode == 64 && output.standardError.contains("set CIFAR10_SHA256"), "\(output.standardError)")
    #expect(requests.isEmpty)
  }

  /// Whoever controls the network could answer a redirected request that is not encrypted.
  @Test func aRedirectToPlainHTTPIsNotFollowed() throws {
    let other = try LoopbackServer(["/other.tar.gz": .body(archive)])
    defer { other.stop() }
    try refuse(.redirect("\(other.address)/other.tar.gz"), code: 69, "could not be downloaded")
    #expect(other.requests.isEmpty)
  }

  @Test func aMissingArchiveIsANetworkFailure() throws {
    try refuse(nil, code: 69, "could not be downloaded; is the network up?")
  }

  @Test func aTruncatedArchiveIsANetworkFailure() throws {
    try refuse(.cutShort(archive), code: 69, "could not be downloaded")
  }

  @Test func anArchiveWithoutTheFilesIsRefused() throws {
    try folder.write("other/\(Self.name)/data_batch_1.bin", "alone")
    let (other, otherSum) = try Self.pack(folder, "other")
    try refuse(.body(other), sum: otherSum, code: 65, "lacks files of \(Self.name)")
  }

  @Test func aDirectoryThatCannotBeCreatedIsReported() throws {
    try folder.write("file", "in the way")
    let (output, requests) = try fetch(.body(archive), into: "file/data")
    #expect(output.exitCode == 73)
    #expect(output.standardError == "fetch-cifar10: the directory 'file/data' cannot be written; give another one.\n")
    #expect(requests.isEmpty)
  }

  @Test func unknownFlagsAreRefused() throws {
    let (output, _) = try fetch(.body(archive), into: "--force")
    #expect(output.exitCode == 64)
    #expect(output.standardError.contains("unknown argument '--force'"))
    for (flags, words) in [
      (["--dataset", "cifar11"], "unknown data set 'cifar11'"), (["one"], "at most one directory can be given"),
    ] {
      let (output, requests) = try fetch(nil, flags: flags)
      #expect(output.exitCode == 64)
      #expect(output.standardError.contains(words), "\(output.standardError)")
      #expect(requests.isEmpty)
    }
  }
}
