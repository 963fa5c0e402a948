// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "wrn-dist",
  targets: [
    .target(name: "Tensors"), .target(name: "Collectives"),
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .target(name: "BLASKernels", dependencies: ["Tensors", "COpenBLAS"]),
    .target(name: "Networks", dependencies: ["Tensors", "Collectives", "BLASKernels"]),
  ])
package.targets.append(.target(name: "DataParallel", dependencies: ["Collectives"]))
