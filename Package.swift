// swift-tools-version: 6.2

import PackageDescription

// Warnings are errors where the checks run; a newer compiler's new warning must not stop a user's build.
let strict: [SwiftSetting] =
  Context.environment["WRN_WARNINGS_AS_ERRORS"] == nil ? [] : [.treatAllWarnings(as: .error)]

// launch/fuzz counts the edges that inputs reach in the modules of the parsers.
let isFuzzing = Context.environment["WRN_FUZZ"] != nil
let parsing: [SwiftSetting] =
  isFuzzing
  ? strict + [.unsafeFlags(["-sanitize-coverage=edge,indirect-calls,trace-cmp,inline-8bit-counters,pc-table"])]
  : strict

let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")
let mustache = Target.Dependency.product(name: "Mustache", package: "swift-mustache")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

// Whole-vector arithmetic: see Sources/Kernels/Vectors/Vector.swift and Sources/Support/SIMD8+Arithmetic.swift.
let vectorSettings = strict + [SwiftSetting.enableExperimentalFeature("BuiltinModule")]

// ThreadSanitizer leaves the accesses of kernels out: with them, a training step of two ranks takes 15 to 30 seconds. Kernels
// start no threads and share nothing but what the code around them, which is instrumented, passes to them.
let kernelSettings =
  vectorSettings
  + (Context.environment["WRN_SANITIZE"] == "thread"
    ? [.unsafeFlags(["-Xllvm", "-tsan-instrument-memory-accesses=false"])] : [])

// One source folder, one build an instruction set: the program picks one at start. The rest is compiled for every CPU.
#if arch(x86_64)
  let kernelBuilds: [Target] = [
    .target(
      name: "Kernels", dependencies: ["Tensors", "CHints"],
      swiftSettings: kernelSettings + [.unsafeFlags(["-Xcc", "-march=x86-64-v3"])]),
    .target(
      name: "KernelsAVX512", dependencies: ["Tensors", "CHints"],
      swiftSettings: kernelSettings + [.unsafeFlags(["-Xcc", "-march=x86-64-v4"]), .define("WRN_AVX512")]),
  ]
#else
  let kernelBuilds: [Target] = [
    .target(name: "Kernels", dependencies: ["Tensors", "CHints"], swiftSettings: kernelSettings)
  ]
#endif
let kernels = kernelBuilds.map { Target.Dependency.target(name: $0.name) }

// Low to high; `docs/architecture.md` says what each module keeps out.
let libraries: [Target] = [
  .systemLibrary(name: "CCPUID"),
  .systemLibrary(name: "CHints"),
  .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
  .systemLibrary(name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
  .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
  .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
  .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
  .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
  .target(name: "Support", swiftSettings: vectorSettings),
  .target(name: "Digests", dependencies: ["COpenSSL"], swiftSettings: strict),
  .target(name: "Charts", swiftSettings: strict),
  .target(name: "Tensors", dependencies: ["Support"], swiftSettings: strict),
  .target(name: "Collectives", dependencies: ["Support"], swiftSettings: strict),
  .target(name: "Clusters", dependencies: ["Support"], swiftSettings: parsing),
  .target(name: "Tracing", dependencies: ["Support"], swiftSettings: strict),
  .target(name: "BLASKernels", dependencies: ["Support", "Tensors", "COpenBLAS"], swiftSettings: strict),
  .target(name: "OpenMPI", dependencies: ["Support", "Collectives", "COpenMPI"], swiftSettings: strict),
  .target(
    name: "Models",
    dependencies: ["Support", "Tensors", "Collectives", "Tracing", "BLASKernels", "CCPUID", "CHints"]
      + kernels,
    swiftSettings: strict),
  .target(name: "Optimizers", dependencies: ["Support", "Tensors"], swiftSettings: strict),
  .target(name: "Datasets", dependencies: ["Support", "Tensors", "BLASKernels", "Digests"], swiftSettings: parsing),
  .target(
    name: "DataParallel", dependencies: ["Support", "Tensors", "Collectives", "Tracing"], swiftSettings: strict
  ),
  .target(
    name: "Training",
    dependencies: [
      "Support", "Tensors", "Collectives", "Tracing", "Models", "Optimizers", "Datasets", "DataParallel", "Digests",
      protobuf, yams,
    ],
    exclude: ["Protos/event.proto", "Protos/generate"], swiftSettings: parsing),
  .target(name: "Images", dependencies: ["CPNG", "CTurboJPEG"], swiftSettings: parsing),
  .target(
    name: "Exporting", dependencies: ["Tensors", "Models", "Datasets", "Training", "CZlib", protobuf],
    exclude: ["Protos/onnx.proto", "Protos/generate"], swiftSettings: strict),
  .target(
    name: "Reports",
    dependencies: [
      "Support", "Tensors", "Collectives", "Charts", "Models", "Datasets", "Training", "Images", mustache,
    ],
    swiftSettings: parsing),
]

// The executable specification, beside the program, and what holds engines against it: training never sees either.
let reference: [Target] = [
  .target(name: "ReferenceImplementation", dependencies: ["Tensors"], swiftSettings: strict),
  .target(
    name: "KernelDiagnostics", dependencies: ["Support", "Tensors", "Models", "ReferenceImplementation"],
    swiftSettings: strict),
]

let program: [Target] = [
  .executableTarget(
    name: "wrn-dist",
    dependencies: [
      "Support", "Tensors", "Collectives", "Clusters", "Charts", "BLASKernels", "OpenMPI", "Models", "Optimizers",
      "Datasets", "DataParallel", "Training", "Images", "Exporting", "Reports", "KernelDiagnostics", argumentParser,
      yams,
    ],
    swiftSettings: strict)
]

// Linked under malloc's names, so that a program which depends on it counts its own allocations. A sanitizer has a malloc
// of its own, so the programs of launch/test --sanitize count none.
let countedFunctions = [
  "malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign",
]
let defineSymbols =
  Context.environment["WRN_SANITIZE"] == nil
  ? countedFunctions.flatMap { ["-Xlinker", "--defsym=\($0)=counted_\($0)"] } : []

// Only launch/fuzz builds it: its main function is that of libFuzzer, which an ordinary build does not link.
let fuzzer: [Target] =
  !isFuzzing
  ? []
  : [
    .executableTarget(
      name: "fuzz-input", dependencies: ["FuzzTargets"], path: "Tests/FuzzInput",
      swiftSettings: [.unsafeFlags(["-parse-as-library"])])
  ]

let tests: [Target] = [
  .target(name: "TestSupport", dependencies: ["Collectives"], path: "Tests/TestSupport"),
  .target(
    name: "AllocationCounter", path: "Tests/AllocationCounter",
    linkerSettings: [.unsafeFlags(defineSymbols)]),
  .executableTarget(
    name: "rank-worker",
    dependencies: [
      "Collectives", "OpenMPI", "Models", "Datasets", "Training", "AllocationCounter",
    ], path: "Tests/RankWorker",
    swiftSettings: strict),
  .target(
    name: "FuzzTargets",
    dependencies: ["Tensors", "Clusters", "Datasets", "Training", "Images", "Reports", "CZlib"],
    path: "Tests/FuzzTargets", exclude: ["Corpus", "Dictionaries"], swiftSettings: parsing),
  .testTarget(name: "FuzzTargetsTests", dependencies: ["FuzzTargets"]),
  .testTarget(name: "SupportTests", dependencies: ["Support"]),
  .testTarget(name: "DigestsTests", dependencies: ["Digests"]),
  .testTarget(name: "CollectivesTests", dependencies: ["Collectives", "TestSupport"]),
  .testTarget(
    name: "OpenMPITests", dependencies: ["Collectives", "OpenMPI", "TestSupport", "rank-worker"]),
  .testTarget(name: "ChartsTests", dependencies: ["Charts"]),
  .testTarget(
    name: "ReportsTests",
    dependencies: ["Charts", "Datasets", "Models", "Training", "Images", "Reports", "TestSupport", "wrn-dist"]),
  .testTarget(name: "ClustersTests", dependencies: ["Clusters", "TestSupport"]),
  .testTarget(name: "TracingTests", dependencies: ["Tracing"]),
  .testTarget(name: "LaunchTests", dependencies: ["Clusters", "TestSupport", "wrn-dist"]),
  .testTarget(
    name: "CommandLineTests",
    dependencies: ["TestSupport", "Clusters", "Models", "Training", "Images", "wrn-dist", "rank-worker"],
    exclude: ["Snapshots"]),
  .testTarget(name: "DocumentationTests", dependencies: ["TestSupport", "wrn-dist"]),
  .testTarget(name: "TensorsTests", dependencies: ["Tensors"]),
  .testTarget(
    name: "TrainingTests",
    dependencies: [
      "Tensors", "Collectives", "Models", "Optimizers", "Datasets", "DataParallel", "Training", "TestSupport",
    ]),
  .testTarget(
    name: "DatasetsTests", dependencies: ["Tensors", "Datasets", "Digests", "TestSupport"], exclude: ["Fixtures"]),
  .testTarget(
    name: "DataParallelTests",
    dependencies: ["Support", "Tensors", "Collectives", "DataParallel", "TestSupport"]),
  .testTarget(
    name: "OptimizersTests", dependencies: ["Tensors", "Optimizers", "ReferenceImplementation"], exclude: ["Fixtures"]),
  .testTarget(name: "ImagesTests", dependencies: ["Images", "CTurboJPEG", "CZlib", "TestSupport"]),
  .testTarget(
    name: "ExportingTests",
    dependencies: [
      "Tensors", "Collectives", "Models", "Datasets", "Training", "Exporting", "TestSupport", protobuf,
    ]),
  .testTarget(name: "ModelsTests", dependencies: ["Support", "Tensors", "Models"]),
  .testTarget(
    name: "ConvolutionEngineTests",
    dependencies: ["Tensors", "Models", "ReferenceImplementation", "TestSupport"]),
  .testTarget(
    name: "KernelDiagnosticsTests",
    dependencies: ["Tensors", "Models", "ReferenceImplementation", "KernelDiagnostics"]),
  .testTarget(
    name: "ReferenceVectorTests",
    dependencies: [
      "Tensors", "Collectives", "Models", "DataParallel", "Training", "ReferenceImplementation",
    ], exclude: ["Fixtures"]),
]

let package = Package(
  name: "wrn-dist",
  products: [.executable(name: "wrn-dist", targets: ["wrn-dist"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0"),
    .package(url: "https://github.com/hummingbird-project/swift-mustache.git", from: "2.1.1"),
    .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
  ],
  targets: kernelBuilds + libraries + program + reference + fuzzer + tests)
