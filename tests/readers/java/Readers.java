import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import com.alibaba.fastjson2.JSONWriter;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads messages, one a line, with the readers of other projects and prints for each line one JSON object with what each
 * reader made of it: {"flink": [[kind, row], …], "canal": {…}}, or {"error": text} in place of a result. Argument: a file
 * with {"schema.table": [[column, Flink type], …]}; Flink reads the messages of the tables named there. All values are
 * text or null.
 */
public final class Readers {
    public static void main(String[] arguments) throws Exception {
        Map<String, FlinkReader> flink = new LinkedHashMap<>();
        JSONObject schemas = JSON.parseObject(Files.readString(Path.of(arguments[0])));
        for (String table : schemas.keySet()) {
            flink.put(table, new FlinkReader(schemas.getJSONArray(table).toList(List.class)));
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            final String message = line;
            Map<String, Object> result = new LinkedHashMap<>();
            result.put("canal", attempt(() -> CanalReader.read(message)));
            JSONObject envelope = JSON.parseObject(message);
            FlinkReader reader = flink.get(envelope.getString("database") + "." + envelope.getString("table"));
            if (reader != null) {
                result.put("flink", attempt(() -> reader.read(message)));
            }
            out.println(JSON.toJSONString(result, JSONWriter.Feature.WriteMapNullValue));
        }
        out.flush();
    }

    interface Attempt {
        Object run() throws Exception;
    }

    private static Object attempt(Attempt what) {
        try {
            return what.run();
        } catch (Exception failure) {
            Throwable cause = failure;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return Map.of("error", String.valueOf(cause.getMessage()));
        }
    }
}
