import ArgumentParser
import Clusters
import Foundation
import Models
import OpenMPI
import Training

/// What a cluster would make of a run, predicted from what this machine does.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Predicts step time, speed, efficiency and memory on more hosts than there are here.",
    discussion: """
      Measures this machine for a few seconds, or takes a result of `benchmark step --json`, and adds what the network costs: \
      a direct reduce-scatter and all-gather of the gradient behind the backward pass, and the exchanges of batch norm. Two \
      tables a network: the global batch fixed, and the batch of each rank fixed. docs/distributed.md has the model.
      """)

  @Option(help: "Numbers of hosts, 1,2,6 or 1…1024, which means powers of two.") var hosts = "1…1024"
  @Option(help: "Whole cores of a host. (default: those of this one)") var coresPerHost: Int?
  @Option(help: "Ranks of a host.") var ranksPerHost = 1
  @Option(help: "What a host can send, such as 10Gb.") var bandwidth = "10Gb"
  @Option(help: "The time of an empty message from host to host, such as 20us.") var latency = "20us"
  @Option(help: "A file of lines of `benchmark step --json`, instead of measuring.") var from: String?
  @Option(help: "Nominal depth.") var depth = 22
  @Option(help: "k; several with commas.") var widenFactor = "1,4,10"
  @Option(help: "Images of one step over all ranks where that is fixed.") var batchSize = 64
  @Option(help: "Images of one step on each rank where that is fixed. (default: --batch-size)")
  var rankBatchSize: Int?
  @Option(help: "Batch statistics over the global batch or each microbatch.")
  var batchNorm = BatchNormalizationScope.global
  @Option(help: "Also draw efficiency against ranks to this SVG file.") var svg: String?

  func run() throws {
    let request = try Request(self)
    let measurements = try from.map(StepMeasurement.read) ?? measure(request)
    var panels: [[EfficiencyChart.Series]] = [[], []]
    for factor in request.widenFactors {
      let network = try TraxWideResNet.graph(WideResNetConfiguration(depth: depth, widenFactor: factor))
      let cost = ModelCost(network, widenFactor: factor)
      guard let measured = StepMeasurement.nearest(to: cost, in: measurements) else {
        throw UsageError("--from \(from ?? "") has no line of benchmark step --json; make one with --json >>FILE.")
      }
      let seconds = measured.coreSecondsPerImage * Double(cost.multiplyAdds) / Double(measured.multiplyAdds)
      let model = StepModel(cost, coreSecondsPerImage: seconds, exchangesStatistics: batchNorm == .global)
      print(PlanTable.heading(model, measured))
      for (i, mode) in [PlanTable.Mode.globalBatch(batchSize), .rankBatch(rankBatchSize ?? batchSize)].enumerated() {
        let table = PlanTable(model, clusters: request.clusters, mode)
        print(table.text)
        panels[i].append(EfficiencyChart.Series(name: "k = \(factor)", points: table.points))
      }
    }
    print(PlanTable.footnote)
    if let svg { try draw(panels, request, to: svg) }
  }

  private func draw(_ panels: [[EfficiencyChart.Series]], _ request: Request, to path: String) throws {
    let titles = ["Global batch of \(batchSize) images", "\(rankBatchSize ?? batchSize) images on each rank"]
    let ranks = "\(ranksPerHost) rank\(ranksPerHost == 1 ? "" : "s")"
    let chart = EfficiencyChart(
      title: "Predicted efficiency of data parallelism, WRN-\(depth)-k",
      subtitle:
        "\(ranks) a host, \(request.coresPerHost) cores each, \(bandwidth)/s, \(latency), batch norm \(batchNorm.rawValue); "
        + "computing as measured on \(HostInfo.cpuModel)",
      panels: zip(titles, panels).map { EfficiencyChart.Subplot(title: $0, series: $1) })
    try OutputFile.replace(path, with: chart.svg)
    print("picture in \(path)")
  }

  /// Runs `benchmark step` on this machine, a few images of every network.
  private func measure(_ request: Request) throws -> [StepMeasurement] {
    let cores = CPUAffinity.current().usableCores.count
    return try request.widenFactors.map { factor in
      // Work for about a second a step and core at a usual speed; a microbatch of several images, as in a real step.
      let images = factor > 6 ? 4 : 8
      return try StepMeasurement.run([
        "--depth", "\(depth)", "--widen-factor", "\(factor)", "--batch-size", "\(images * cores)",
        "--microbatches", "\(cores)", "--threads", "\(cores)", "--steps", factor > 6 ? "2" : "5",
      ])
    }
  }

  /// The flags, checked.
  struct Request {
    let clusters: [Cluster]
    let widenFactors: [Int]
    let coresPerHost: Int

    init(_ options: PlanCommand) throws {
      guard let hosts = Quantity.counts(options.hosts) else {
        throw UsageError("--hosts \(options.hosts) is no list of numbers; write 1,2,6 or 1…1024.")
      }
      guard let bandwidth = Quantity.bytesPerSecond(options.bandwidth) else {
        throw UsageError("--bandwidth \(options.bandwidth) is no data rate; write 10Gb (bits) or 1.25GB (bytes).")
      }
      guard let latency = Quantity.seconds(options.latency) else {
        throw UsageError("--latency \(options.latency) is no time; write 20us or 0.1ms.")
      }
      let factors = options.widenFactor.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
      guard !factors.contains(where: { $0 < 1 }) else {
        throw UsageError("--widen-factor \(options.widenFactor) must be positive numbers, such as 1,4,10.")
      }
      let counts = [
        ("cores-per-host", options.coresPerHost ?? 1), ("ranks-per-host", options.ranksPerHost),
        ("batch-size", options.batchSize), ("rank-batch-size", options.rankBatchSize ?? 1),
      ]
      for (name, value) in counts where !(1...1_000_000).contains(value) {
        throw UsageError("--\(name) \(value) must lie between 1 and 1000000.")
      }
      let cores = options.coresPerHost ?? CPUAffinity.current().onlineCoreCount
      guard options.ranksPerHost <= cores else {
        throw UsageError(
          "--ranks-per-host \(options.ranksPerHost) is more than --cores-per-host \(cores); give each rank a core.")
      }
      widenFactors = factors
      coresPerHost = cores
      clusters = hosts.map {
        Cluster(
          hostCount: $0, ranksPerHost: options.ranksPerHost, coresPerHost: cores, bytesPerSecond: bandwidth,
          latency: latency)
      }
    }
  }
}

/// A table of predictions for one network.
struct PlanTable {
  /// What stays the same from row to row.
  enum Mode {
    /// B: more hosts make each step shorter, and the result is that of one.
    case globalBatch(Int)
    /// B / ranks: more hosts make each step larger.
    case rankBatch(Int)
  }

  /// Ranks and efficiency of every row.
  let points: [(ranks: Int, efficiency: Double)]
  /// The table.
  let text: String

  /// Predicts every cluster.
  init(_ model: StepModel, clusters: [Cluster], _ mode: Mode) {
    var rows = [
      [
        "hosts", "ranks", "batch", "step ms", "compute", "statistics", "exposed", "img/s", "efficiency", "bucket",
        "memory",
      ]
    ]
    var points: [(ranks: Int, efficiency: Double)] = []
    for cluster in clusters {
      let batch: Int
      let batchOfOne: Int
      switch mode {
      case .globalBatch(let size): (batch, batchOfOne) = (size, size)
      case .rankBatch(let size): (batch, batchOfOne) = (size * cluster.rankCount, size * cluster.ranksPerHost)
      }
      guard let found = model.predict(cluster, globalBatchSize: batch) else {
        rows.append(["\(cluster.hostCount)", "\(cluster.rankCount)", "\(batch)", "more ranks than images"])
        continue
      }
      let efficiency = model.efficiency(found, againstOneHostWith: batchOfOne)
      points.append((cluster.rankCount, efficiency))
      rows.append([
        "\(cluster.hostCount)", "\(cluster.rankCount)", "\(batch)", Self.milliseconds(found.step),
        Self.milliseconds(found.compute),
        Self.milliseconds(found.statistics), Self.milliseconds(found.exposed),
        String(format: "%.0f", found.imagesPerSecond),
        String(format: "%.1f %%", 100 * efficiency), cluster.hostCount == 1 ? "-" : Self.bytes(found.bucketByteCount),
        Self.bytes(found.memoryByteCount),
      ])
    }
    self.points = points
    let title =
      switch mode {
      case .globalBatch(let size): "global batch fixed at \(size) images:"
      case .rankBatch(let size): "batch of each rank fixed at \(size) images:"
      }
    text = ([title] + Self.align(rows)).joined(separator: "\n") + "\n"
  }

  /// What stands above the tables of a network.
  static func heading(_ model: StepModel, _ measured: StepMeasurement) -> String {
    let network = model.network
    let count = String(format: "%.2f", Double(network.parameterCount) / 1e6)
    let time = String(format: "%.2f", 1e3 * model.coreSecondsPerImage)
    let source =
      measured.network == network.name ? "measured" : "scaled by its multiply-adds from"
    return """
      \(network.name): \(count) M parameters, a gradient of \(bytes(network.gradientByteCount)), \(time) ms an image and core
      (\(source) \(measured.description))
      """
  }

  /// What the columns mean.
  static let footnote = """
    step = compute + statistics (waiting for batch norm) + exposed (what backward does not hide of the gradient's exchange)
    efficiency: img/s against those of one host times the hosts; bucket: the best size; memory: of one rank, about
    """

  private static func milliseconds(_ seconds: Double) -> String { String(format: "%.2f", 1e3 * seconds) }

  private static func bytes(_ count: Int) -> String {
    count < 1 << 20
      ? String(format: "%.0f KiB", Double(count) / 1024) : String(format: "%.1f MiB", Double(count) / Double(1 << 20))
  }

  /// Right-aligns columns; a row that is shorter ends with words.
  private static func align(_ rows: [[String]]) -> [String] {
    let width = rows[0].indices.map { column in
      rows.filter { $0.count == rows[0].count || column < 3 }.map { $0[column].count }.max() ?? 0
    }
    return rows.map { row in
      row.enumerated().map { column, text in
        let isWords = row.count < rows[0].count && column == row.count - 1
        return isWords ? text : String(repeating: " ", count: max(0, width[column] - text.count)) + text
      }.joined(separator: "  ")
    }
  }
}
