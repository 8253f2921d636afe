import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

import org.opensearch.Version;
import org.opensearch.common.settings.KeyStoreWrapper;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.PluginInfo;

/** One OpenSearch node in this JVM. Arguments: HOME PORT [NAME=VALUE | secure:NAME=VALUE]... */
final class SearchNode extends Node {
    private static final String SECURE = "secure:";

    private SearchNode(Environment environment) {
        super(
            environment,
            List.of(
                onClassPath("transport-netty4", "org.opensearch.transport.Netty4ModulePlugin"),
                onClassPath("repository-s3", "org.opensearch.repositories.s3.S3RepositoryPlugin")
            ),
            true
        );
    }

    /** The plugins come with the server's own class loader: there is no folder to load them from. */
    private static PluginInfo onClassPath(String name, String mainClass) {
        return new PluginInfo(name, name, "0", Version.CURRENT, "21", mainClass, null, List.of(), false);
    }

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]).toAbsolutePath();
        Path config = folder(home, "config");
        // The S3 plugin asks for these two, which a distribution's start script sets.
        System.setProperty("opensearch.path.home", home.toString());
        System.setProperty("opensearch.path.conf", config.toString());
        // Netty counts processors once per JVM, and fails when told twice.
        System.setProperty("opensearch.set.netty.runtime.available.processors", "false");

        KeyStoreWrapper keystore = KeyStoreWrapper.create();
        Settings.Builder settings = Settings.builder()
            .put("path.home", home.toString())
            .put("path.repo", folder(home, "repositories").toString())
            .put("cluster.name", "sabre-tests")
            .put("node.name", "one")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("transport.port", "0")
            .put("transport.type", "netty4")
            .put("http.type", "netty4")
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (String argument : List.of(arguments).subList(2, arguments.length)) {
            String[] pair = argument.split("=", 2);
            if (pair[0].startsWith(SECURE)) {
                keystore.setString(pair[0].substring(SECURE.length()), pair[1].toCharArray());
            } else {
                settings.put(pair[0], pair[1]);
            }
        }
        settings.setSecureSettings(keystore);

        Environment environment = InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), config, () -> "one");
        SearchNode node = new SearchNode(environment);
        node.start();
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (IOException failure) {
                failure.printStackTrace();
            }
            stopped.countDown();
        }));
        stopped.await();
    }

    private static Path folder(Path home, String name) throws IOException {
        return Files.createDirectories(home.resolve(name));
    }
}
