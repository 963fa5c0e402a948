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
    let measurements = try from.map(ComputeMeasurement.read) ?? measure(request)
    var panels: [[EfficiencyChart.Series]] = [[], []]
    for factor in request.widenFactors {
      let network = try WideResNet(WideResNet.Configuration(depth: depth, widenFactor: factor))
      let cost = NetworkCost(network)
      guard let measured = ComputeMeasurement.nearest(to: cost, in: measurements) else {
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
        + "computing as measured on \(Machine.cpuModel)",
      panels: zip(titles, panels).map { EfficiencyChart.Panel(title: $0, series: $1) })
    try OutputFile.replace(path, with: chart.svg)
    print("picture in \(path)")
  }

  /// Runs `benchmark step` on this machine, a few images of every network.
  private func measure(_ request: Request) throws -> [ComputeMeasurement] {
    let cores = CoreBinding.current().usableCores.count
    return try request.widenFactors.map { factor in
      // Work for about a second a step and core at a usual speed; a microbatch of several images, as in a real step.
      let images = factor > 6 ? 4 : 8
      return try ComputeMeasurement.run([
        "--depth", "\(depth)", "--widen-factor", "\(factor)", "--batch-size", "\(images * cores)",
        "--microbatches", "\(cores)", "--threads", "\(cores)", "--steps", factor > 6 ? "2" : "5",
      ])
    }
  }

  /// The flags, checked.
  struct Request {
    let clusters: [ClusterDescription]
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
      let cores = options.coresPerHost ?? CoreBinding.current().onlineCoreCount
      guard options.ranksPerHost <= cores else {
        throw UsageError(
          "--ranks-per-host \(options.ranksPerHost) is more than --cores-per-host \(cores); give each rank a core.")
      }
      widenFactors = factors
      coresPerHost = cores
      clusters = hosts.map {
        ClusterDescription(
          hostCount: $0, ranksPerHost: options.ranksPerHost, coresPerHost: cores, bytesPerSecond: bandwidth,
          latency: latency)
      }
    }
  }
}
